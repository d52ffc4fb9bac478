/*
 * The anchor of the benchmark: the ring lab, built by hand over raw netlink.
 *
 *     raw_ring N [STATE-FILE [ORDER]]
 *
 * It does what a careful person would write for exactly these kernel objects
 * and nothing else: no graph, no diff, no reading back. ORDER is a name from
 * the table below or a string in its notation. RAW_RING_TIMES=1 prints the
 * milliseconds of each wave to stderr. Without STATE-FILE the state goes to a
 * nameless file in /tmp.
 *
 * Run it in a sandbox (own user, network and mount namespaces, a private
 * /run/netns); it creates netns `underlay`, `n0`.. and `c0`.. there.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PORTS_PER_BRIDGE = 1000, /* the kernel takes 1,023 */
	MAX_NODES = 4096,        /* 172.16.0.0/12 holds so many /24 */
	NODE_BUFFER = 8192,
	UNDERLAY_BUFFER = 65536,
	LONGEST_MESSAGE = 512,
	ROUTE_PROTOCOL = 0x4e,
};

/* Interface indexes; those of the underlay's bridges and ports count up. */
enum { BR0 = 10, VETH0, ETH0, VTEP0, BRIDGES = 1000, TRUNKS = 2000, PORTS = 10000 };

/* The second byte of a MAC says what the link is. */
enum { M_BR0 = 1, M_VETH0, M_CETH0, M_ETH0, M_PORT, M_VTEP0, M_BRIDGE, M_TRUNK, M_TRUNKP };

/*
 * An order is a list of waves separated by '|'. In a wave each node runs its
 * steps in turn, then the next node does. A lower-case step makes the same
 * links as its capital, but leaves them down.
 *   N    both netns of the node, with their sysctls
 *   B b  br0 in n{i}; B with its address
 *   V v  veth0 in n{i}, its master br0, and its peer eth0 in c{i}
 *   E e  eth0 in n{i}, and its peer port{i} in underlay; E with its address
 *   D    veth0 and eth0 up, the address of eth0 (after v and e)
 *   Y    br0 up, its address (after b)
 *   X    vtep0, up, with its address
 *   P    neighbours, fdb entries and routes to the ring neighbours
 *   C    eth0 of c{i} up, its address and default route
 *   M    port{i}: its bridge as master, and up
 *   U    the bridges of underlay up (once, not for each node)
 */
static const struct { const char *name, *steps; } orders[] = {
	{ "bridges-late", "N|bVEXP|C|M|Y|U" },   /* bridges come up last */
	{ "late", "N|bve|M|C|DYXP|U" },          /* every link is made down, shared bridges come up last */
	{ "kinds-late", "N|b|v|e|M|C|D|Y|X|P|U" },
	{ "kinds", "N|B|V|E|X|P|C|M|U" },
	{ "nodes-last", "NBVEXPC|M|U" },         /* node by node, but underlay up last */
	{ "nodes", "U|NBVEXPCM" },               /* node by node on a live bridge */
};

struct netns {
	char name[16];
	int fd, sock;
	unsigned seq;     /* of the last message put into the buffer */
	size_t used, size, last;
	char *buffer;
};

static struct netns underlay, *node, *container;
static int nodes, bridges;

static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("raw_ring: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

/* --- the plan: addresses and MACs follow from the number of the node --- */

static uint32_t underlay_address(int i) { return htonl(10u << 24 | 200 << 16 | (i / 250) << 8 | (i % 250 + 1)); }

static uint32_t overlay_address(int i, int host)
{
	return htonl(172u << 24 | (16 + i / 256) << 16 | (i % 256) << 8 | host);
}

static void mac_of(unsigned char mac[6], int what, int i)
{
	mac[0] = 2, mac[1] = what, mac[2] = mac[3] = 0, mac[4] = i >> 8, mac[5] = i;
}

/* The ring neighbours of node i, each once and never i itself. */
static int neighbours(int i, int found[4])
{
	static const int steps[] = { -2, -1, 1, 2 };
	int count = 0;

	for (int s = 0; s < 4; s++) {
		int j = ((i + steps[s]) % nodes + nodes) % nodes, known = j == i;

		for (int k = 0; k < count; k++)
			known |= found[k] == j;
		if (!known)
			found[count++] = j;
	}
	return count;
}

/* --- netlink --- */

static void complain(const struct netns *ns, const struct nlmsghdr *head, const struct nlmsgerr *error)
{
	const char *words = "";

	if (head->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t skip = sizeof *error;

		if (!(head->nlmsg_flags & NLM_F_CAPPED))
			skip += error->msg.nlmsg_len - sizeof error->msg;
		const struct nlattr *at = (const void *)((const char *)error + NLMSG_ALIGN(skip));
		const char *end = (const char *)head + head->nlmsg_len;

		for (; (const char *)(at + 1) <= end && at->nla_len >= sizeof *at;
		     at = (const void *)((const char *)at + NLA_ALIGN(at->nla_len)))
			if (at->nla_type == NLMSGERR_ATTR_MSG)
				words = (const char *)(at + 1);
	}
	die("%s: message %u of type %u: %s %s", ns->name, error->msg.nlmsg_seq, error->msg.nlmsg_type,
	    strerror(-error->error), words);
}

/*
 * Sends what is in the buffer and reads until its last message is acknowledged.
 * Only that one asks for an ack: the kernel reports an error in any case, and
 * works through the buffer before send() returns.
 */
static void flush(struct netns *ns)
{
	static char answer[65536];

	if (!ns->used)
		return;
	((struct nlmsghdr *)(ns->buffer + ns->last))->nlmsg_flags |= NLM_F_ACK;
	if (send(ns->sock, ns->buffer, ns->used, 0) != (ssize_t)ns->used)
		die("%s: send: %s", ns->name, strerror(errno));
	ns->used = 0;
	for (;;) {
		ssize_t got = recv(ns->sock, answer, sizeof answer, 0);

		if (got < 0)
			die("%s: recv: %s", ns->name, strerror(errno));
		for (struct nlmsghdr *head = (void *)answer; NLMSG_OK(head, got); head = NLMSG_NEXT(head, got)) {
			const struct nlmsgerr *error = NLMSG_DATA(head);

			if (head->nlmsg_type != NLMSG_ERROR)
				continue;
			if (error->error)
				complain(ns, head, error);
			if (head->nlmsg_seq == ns->seq)
				return;
		}
	}
}

static struct nlmsghdr *begin(struct netns *ns, int type, int flags, const void *header, size_t size)
{
	if (ns->used + LONGEST_MESSAGE > ns->size)
		flush(ns);
	struct nlmsghdr *head = (void *)(ns->buffer + ns->used);

	ns->last = ns->used;
	*head = (struct nlmsghdr){ NLMSG_LENGTH(size), type, NLM_F_REQUEST | flags, ++ns->seq, 0 };
	memcpy(NLMSG_DATA(head), header, size);
	head->nlmsg_len = NLMSG_ALIGN(head->nlmsg_len);
	return head;
}

static void end(struct netns *ns, const struct nlmsghdr *head) { ns->used += head->nlmsg_len; }

static struct nlattr *put(struct nlmsghdr *head, int type, const void *value, size_t size)
{
	struct nlattr *at = (void *)((char *)head + head->nlmsg_len);

	at->nla_type = type;
	at->nla_len = NLA_HDRLEN + size;
	if (size)
		memcpy(at + 1, value, size);
	memset((char *)(at + 1) + size, 0, NLA_ALIGN(size) - size);
	head->nlmsg_len += NLA_ALIGN(at->nla_len);
	return at;
}

static void put32(struct nlmsghdr *head, int type, uint32_t value) { put(head, type, &value, 4); }
static void put8(struct nlmsghdr *head, int type, uint8_t value) { put(head, type, &value, 1); }
static void put_name(struct nlmsghdr *head, const char *name) { put(head, IFLA_IFNAME, name, strlen(name) + 1); }
static struct nlattr *open_nest(struct nlmsghdr *head, int type) { return put(head, type, NULL, 0); }

static void close_nest(struct nlmsghdr *head, struct nlattr *nest)
{
	nest->nla_len = (char *)head + head->nlmsg_len - (char *)nest;
}

static void put_mac(struct nlmsghdr *head, int type, int what, int i)
{
	unsigned char mac[6];

	mac_of(mac, what, i);
	put(head, type, mac, 6);
}

/* --- the objects --- */

static struct nlmsghdr *new_link(struct netns *ns, int index, const char *name, int what, int i, int master, int up)
{
	struct ifinfomsg link = { .ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = up ? IFF_UP : 0 };
	struct nlmsghdr *head = begin(ns, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);

	put_name(head, name);
	put_mac(head, IFLA_ADDRESS, what, i);
	if (master)
		put32(head, IFLA_MASTER, master);
	return head;
}

static void link_up(struct netns *ns, int index, int master)
{
	struct ifinfomsg link = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct nlmsghdr *head = begin(ns, RTM_NEWLINK, 0, &link, sizeof link);

	if (master)
		put32(head, IFLA_MASTER, master);
	end(ns, head);
}

static void bridge(struct netns *ns, int index, const char *name, int what, int i, int up)
{
	struct nlmsghdr *head = new_link(ns, index, name, what, i, 0, up);
	struct nlattr *info = open_nest(head, IFLA_LINKINFO);

	put(head, IFLA_INFO_KIND, "bridge", 7);
	close_nest(head, info);
	end(ns, head);
}

/*
 * With the default, a queue for each CPU, the kernel makes all queues and then
 * switches all but one off, which waits for two RCU grace periods for each pair.
 */
static void one_queue(struct nlmsghdr *head)
{
	put32(head, IFLA_NUM_TX_QUEUES, 1);
	put32(head, IFLA_NUM_RX_QUEUES, 1);
}

/* The peer is created where it belongs: nothing is ever moved. It starts down and without a master. */
static void veth(struct netns *ns, int index, const char *name, int what, int i, int master, int up,
		 const struct netns *peer_ns, int peer_index, const char *peer_name, int peer_what)
{
	struct ifinfomsg peer = { .ifi_index = peer_index };
	struct nlmsghdr *head = new_link(ns, index, name, what, i, master, up);

	one_queue(head);
	struct nlattr *info = open_nest(head, IFLA_LINKINFO);

	put(head, IFLA_INFO_KIND, "veth", 5);
	struct nlattr *kind = open_nest(head, IFLA_INFO_DATA);
	struct nlattr *nest = put(head, VETH_INFO_PEER, &peer, sizeof peer);

	put_name(head, peer_name);
	put_mac(head, IFLA_ADDRESS, peer_what, i);
	one_queue(head);
	if (peer_ns)
		put32(head, IFLA_NET_NS_FD, peer_ns->fd);
	close_nest(head, nest);
	close_nest(head, kind);
	close_nest(head, info);
	end(ns, head);
}

static void vxlan(struct netns *ns, int i)
{
	struct nlmsghdr *head = new_link(ns, VTEP0, "vtep0", M_VTEP0, i, 0, 1);
	uint32_t local = underlay_address(i);
	uint16_t port = htons(8472);

	put32(head, IFLA_MTU, 1450);
	struct nlattr *info = open_nest(head, IFLA_LINKINFO);

	put(head, IFLA_INFO_KIND, "vxlan", 6);
	struct nlattr *kind = open_nest(head, IFLA_INFO_DATA);

	put32(head, IFLA_VXLAN_ID, 1);
	put32(head, IFLA_VXLAN_LOCAL, local);
	put32(head, IFLA_VXLAN_LINK, ETH0);
	put(head, IFLA_VXLAN_PORT, &port, 2);
	put8(head, IFLA_VXLAN_LEARNING, 0);
	close_nest(head, kind);
	close_nest(head, info);
	end(ns, head);
}

static void address(struct netns *ns, int index, uint32_t value, int length)
{
	struct ifaddrmsg message = { .ifa_family = AF_INET, .ifa_prefixlen = length, .ifa_index = index };
	struct nlmsghdr *head = begin(ns, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);

	put32(head, IFA_LOCAL, value);
	put32(head, IFA_ADDRESS, value);
	end(ns, head);
}

static void route(struct netns *ns, int index, uint32_t destination, int length, uint32_t via, int flags)
{
	struct rtmsg message = { .rtm_family = AF_INET, .rtm_dst_len = length, .rtm_table = RT_TABLE_MAIN,
				 .rtm_protocol = ROUTE_PROTOCOL, .rtm_scope = RT_SCOPE_UNIVERSE,
				 .rtm_type = RTN_UNICAST, .rtm_flags = flags };
	struct nlmsghdr *head = begin(ns, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);

	if (length)
		put32(head, RTA_DST, destination);
	put32(head, RTA_GATEWAY, via);
	put32(head, RTA_OIF, index);
	end(ns, head);
}

/* A neighbour, or with NTF_SELF and the bridge family an fdb entry of the vxlan. */
static void neighbour(struct netns *ns, int family, int flags, uint32_t destination, int j)
{
	struct ndmsg message = { .ndm_family = family, .ndm_ifindex = VTEP0, .ndm_state = NUD_PERMANENT,
				 .ndm_flags = flags };
	struct nlmsghdr *head = begin(ns, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof message);

	put32(head, NDA_DST, destination);
	put_mac(head, NDA_LLADDR, M_VTEP0, j);
	end(ns, head);
}

static void sysctl_one(int folder, const char *path)
{
	int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		die("/proc/sys/net/%s: %s", path, strerror(errno));
	close(fd);
}

/*
 * A new netns, named by a bind mount; this process stays in it. Its socket is
 * opened on the way, so it is never entered again.
 */
static void new_netns(struct netns *ns, size_t size, int forwarding, const char *format, int i)
{
	char path[64];
	int yes = 1;

	snprintf(ns->name, sizeof ns->name, format, i);
	snprintf(path, sizeof path, "/run/netns/%s", ns->name);
	int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (file < 0)
		die("%s: %s", path, strerror(errno));
	close(file);
	if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL))
		die("%s: %s", path, strerror(errno));
	ns->fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ns->sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (ns->fd < 0 || ns->sock < 0)
		die("%s: %s", path, strerror(errno));
	setsockopt(ns->sock, SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
	setsockopt(ns->sock, SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
	ns->size = size;
	ns->buffer = malloc(size);
	if (!ns->buffer)
		die("out of memory");
	if (forwarding) {
		/* Looked up once for both: the kernel goes through the entries of all netns (proc_sys_compare). */
		int folder = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);

		sysctl_one(folder, "ipv4/ip_forward");
		sysctl_one(folder, "ipv6/conf/all/forwarding");
		close(folder);
	}
}

/* --- the lab --- */

static void build_underlay(void)
{
	char name[24], peer[24];

	for (int b = 0; b < bridges; b++) {
		snprintf(name, sizeof name, "br%d", b);
		bridge(&underlay, BRIDGES + b, name, M_BRIDGE, b, 0);
	}
	for (int b = 1; b < bridges; b++) {
		snprintf(name, sizeof name, "trunk%d", b);
		snprintf(peer, sizeof peer, "trunk%dp", b);
		veth(&underlay, TRUNKS + 2 * b, name, M_TRUNK, b, BRIDGES, 1, NULL, TRUNKS + 2 * b + 1, peer,
		     M_TRUNKP);
		link_up(&underlay, TRUNKS + 2 * b + 1, BRIDGES + b);
	}
}

static void build_node(char step, int i)
{
	struct netns *n = node + i, *c = container + i;
	char port[24];
	int near[4];

	switch (step) {
	case 'N':
		new_netns(n, NODE_BUFFER, 1, "n%d", i);
		new_netns(c, NODE_BUFFER, 0, "c%d", i);
		break;
	case 'B':
	case 'b':
		bridge(n, BR0, "br0", M_BR0, i, step == 'B');
		if (step == 'B')
			address(n, BR0, overlay_address(i, 1), 24);
		break;
	case 'V':
	case 'v':
		veth(n, VETH0, "veth0", M_VETH0, i, BR0, step == 'V', c, ETH0, "eth0", M_CETH0);
		break;
	case 'E':
	case 'e':
		snprintf(port, sizeof port, "port%d", i);
		veth(n, ETH0, "eth0", M_ETH0, i, 0, step == 'E', &underlay, PORTS + i, port, M_PORT);
		if (step == 'E')
			address(n, ETH0, underlay_address(i), 16);
		break;
	case 'D':
		link_up(n, VETH0, 0);
		link_up(n, ETH0, 0);
		address(n, ETH0, underlay_address(i), 16);
		break;
	case 'Y':
		link_up(n, BR0, 0);
		address(n, BR0, overlay_address(i, 1), 24);
		break;
	case 'X':
		vxlan(n, i);
		address(n, VTEP0, overlay_address(i, 0), 32);
		break;
	case 'P':
		for (int count = neighbours(i, near), k = 0; k < count; k++) {
			int j = near[k];

			neighbour(n, AF_INET, 0, overlay_address(j, 0), j);
			neighbour(n, AF_BRIDGE, NTF_SELF, underlay_address(j), j);
			route(n, VTEP0, overlay_address(j, 0), 24, overlay_address(j, 0), RTNH_F_ONLINK);
		}
		break;
	case 'C':
		link_up(c, ETH0, 0);
		address(c, ETH0, overlay_address(i, 2), 24);
		route(c, ETH0, 0, 0, overlay_address(i, 1), 0);
		break;
	case 'M':
		link_up(&underlay, PORTS + i, BRIDGES + i / PORTS_PER_BRIDGE);
		break;
	default:
		die("no step '%c'", step);
	}
}

/* Runs one wave; buffers are sent when the node is done, the underlay's too if the wave also does other things. */
static void build_wave(const char *steps, int length)
{
	if (length == 1 && *steps == 'U') {
		for (int b = 0; b < bridges; b++)
			link_up(&underlay, BRIDGES + b, 0);
	} else {
		for (int i = 0; i < nodes; i++) {
			for (int s = 0; s < length; s++)
				build_node(steps[s], i);
			flush(node + i);
			flush(container + i);
			if (length > 1)
				flush(&underlay);
		}
	}
	flush(&underlay);
}

/* --- the state file --- */

static char *text;
static size_t text_used, text_size;

__attribute__((format(printf, 1, 2))) static void line(const char *format, ...)
{
	va_list arguments;

	if (text_size - text_used < 256 && !(text = realloc(text, text_size = 2 * text_size + 65536)))
		die("out of memory");
	va_start(arguments, format);
	text_used += vsnprintf(text + text_used, text_size - text_used, format, arguments);
	va_end(arguments);
}

static const char *ip(uint32_t value)
{
	static char words[4][INET_ADDRSTRLEN];
	static int next;

	next = (next + 1) % 4;
	return inet_ntop(AF_INET, &value, words[next], INET_ADDRSTRLEN);
}

static void link_line(const char *ns, const char *kind, const char *name, int index, int what, int i)
{
	unsigned char m[6];

	mac_of(m, what, i);
	line("%s link %s %s %d %02x:%02x:%02x:%02x:%02x:%02x\n", ns, kind, name, index, m[0], m[1], m[2], m[3], m[4],
	     m[5]);
}

/* One line for each object of the lab. */
static void list_objects(void)
{
	char n[24], c[24], name[24];
	int near[4];

	line("netns underlay\n");
	for (int b = 0; b < bridges; b++) {
		snprintf(name, sizeof name, "br%d", b);
		link_line("underlay", "bridge", name, BRIDGES + b, M_BRIDGE, b);
		if (!b)
			continue;
		snprintf(name, sizeof name, "trunk%d", b);
		link_line("underlay", "veth", name, TRUNKS + 2 * b, M_TRUNK, b);
		snprintf(name, sizeof name, "trunk%dp", b);
		link_line("underlay", "veth", name, TRUNKS + 2 * b + 1, M_TRUNKP, b);
	}
	for (int i = 0; i < nodes; i++) {
		snprintf(n, sizeof n, "n%d", i);
		snprintf(c, sizeof c, "c%d", i);
		snprintf(name, sizeof name, "port%d", i);
		line("netns %s\nnetns %s\n", n, c);
		line("%s sysctl net.ipv4.ip_forward 1\n%s sysctl net.ipv6.conf.all.forwarding 1\n", n, n);
		link_line(n, "bridge", "br0", BR0, M_BR0, i);
		line("%s address br0 %s/24\n", n, ip(overlay_address(i, 1)));
		link_line(n, "veth", "veth0", VETH0, M_VETH0, i);
		link_line(c, "veth", "eth0", ETH0, M_CETH0, i);
		line("%s address eth0 %s/24\n", c, ip(overlay_address(i, 2)));
		line("%s route default via %s dev eth0\n", c, ip(overlay_address(i, 1)));
		link_line(n, "veth", "eth0", ETH0, M_ETH0, i);
		link_line("underlay", "veth", name, PORTS + i, M_PORT, i);
		line("%s address eth0 %s/16\n", n, ip(underlay_address(i)));
		link_line(n, "vxlan", "vtep0", VTEP0, M_VTEP0, i);
		line("%s address vtep0 %s/32\n", n, ip(overlay_address(i, 0)));
		for (int count = neighbours(i, near), k = 0; k < count; k++) {
			const char *peer = ip(overlay_address(near[k], 0)), *host = ip(underlay_address(near[k]));
			unsigned char m[6];

			mac_of(m, M_VTEP0, near[k]);
			line("%s neighbour vtep0 %s %02x:%02x:%02x:%02x:%02x:%02x\n", n, peer, m[0], m[1], m[2], m[3],
			     m[4], m[5]);
			line("%s fdb vtep0 %02x:%02x:%02x:%02x:%02x:%02x %s\n", n, m[0], m[1], m[2], m[3], m[4], m[5],
			     host);
			line("%s route %s/24 via %s dev vtep0 onlink\n", n, peer, peer);
		}
	}
}

static void save(int fd, const char *title)
{
	if (dprintf(fd, "%s\n", title) < 0 || write(fd, text, text_used) != (ssize_t)text_used || fsync(fd))
		die("state file: %s", strerror(errno));
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

int main(int count, char **arguments)
{
	const char *file = count > 2 ? arguments[2] : "/tmp";
	const char *steps = count > 3 ? arguments[3] : orders[0].name;
	int times = getenv("RAW_RING_TIMES") != NULL;

	nodes = count > 1 ? atoi(arguments[1]) : 0;
	if (nodes < 1 || nodes > MAX_NODES)
		die("usage: raw_ring N [STATE-FILE [ORDER]], with N from 1 to %d", MAX_NODES);
	for (size_t k = 0; k < sizeof orders / sizeof *orders; k++)
		if (!strcmp(steps, orders[k].name))
			steps = orders[k].steps;
	bridges = (nodes + PORTS_PER_BRIDGE - 1) / PORTS_PER_BRIDGE;
	node = calloc(nodes, sizeof *node);
	container = calloc(nodes, sizeof *container);
	int state = open(file, O_WRONLY | O_CLOEXEC | (count > 2 ? O_CREAT | O_TRUNC : O_TMPFILE), 0600);

	if (!node || !container || state < 0)
		die("%s: %s", file, strerror(errno));
	list_objects();
	save(state, "wanted");
	new_netns(&underlay, UNDERLAY_BUFFER, 0, "underlay", 0);
	build_underlay();
	flush(&underlay);
	while (*steps) {
		int length = strcspn(steps, "|");
		double start = milliseconds();

		build_wave(steps, length);
		if (times)
			fprintf(stderr, "%-12.*s %8.1f ms\n", length, steps, milliseconds() - start);
		steps += length + (steps[length] == '|');
	}
	save(state, "made");
	return 0;
}
