/* Takes all names of network namespaces away at once, as fast as the kernel lets us: `raw_drop` in a sandbox.
 * The kernel then removes the namespaces in its own time. */
#include <dirent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(void)
{
	DIR *names = opendir("/run/netns");

	if (!names || chdir("/run/netns"))
		return perror("/run/netns"), 1;
	for (struct dirent *entry; (entry = readdir(names));)
		if (entry->d_name[0] != '.' && (umount2(entry->d_name, MNT_DETACH) || unlink(entry->d_name)))
			return perror(entry->d_name), 1;
	return 0;
}
