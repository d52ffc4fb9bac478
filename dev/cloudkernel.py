"""Run the tests marked `cloudkernel`, or any command, on Debian's cloud kernel in QEMU, without virtualisation.

    python dev/cloudkernel.py               every marked test; all of them must run and pass
    python dev/cloudkernel.py -- COMMAND    one command, with its exit status

For what User Mode Linux (dev/fullkernel.py) lacks: WireGuard. An instruction takes many here, so the tests are few. The
kernel package is unpacked into .cloudkernel/, not installed; this machine's file system is the guest's root, by
virtiofs. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from guests import INIT, PROJECT, SEARCH, Failure, Guest, Lane, apt, bound

FOLDER = PROJECT / ".cloudkernel"
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
MEMORY = "1G"
FIRST = """#!/busybox sh
for module in $(/busybox cat /order); do /busybox insmod "/$module" || /busybox poweroff -f; done
/busybox mount -t virtiofs machine /machine || /busybox poweroff -f
/busybox mount -t proc proc /proc
/busybox mount -o remount,bind,ro /machine || /busybox poweroff -f
/busybox umount /proc
exec /busybox switch_root /machine "$start"
"""
"""What the first process does: load the modules that the file system needs, and go on there."""


def prepare() -> None:
    """Download and unpack the kernel, and make the initial file system that finds this machine's."""
    if not VIRTIOFSD.exists():
        raise Failure(f"{VIRTIOFSD} is missing: Debian 12's qemu-system-common has it")
    if os.geteuid() != 0:
        raise Failure("virtiofsd, which gives the guest its file system, needs root")
    if (FOLDER / "initrd").exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    package = newest()
    if not package:
        apt("update", "-qq")
        package = newest()
    if not package:
        raise Failure("apt knows no kernel package that linux-image-cloud-amd64 depends on")
    print(f"unpacking {package}", flush=True)
    apt("download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=FOLDER)
    (archive,) = FOLDER.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, FOLDER], check=True)
    archive.unlink()
    subprocess.run([tool("depmod"), "-b", FOLDER, release()], check=True)
    make_initrd(FOLDER / "initial")


def newest() -> str:
    """The package of Debian's newest cloud kernel, as far as apt knows."""
    command = ["apt-cache", "depends", "linux-image-cloud-amd64"]
    words = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.split()
    return next((word for word in words if word.startswith("linux-image-") and word[12].isdigit()), "")


def release() -> str:
    """The kernel's, as `uname -r` says it."""
    return next((FOLDER / "lib/modules").iterdir()).name


def tool(command: str) -> str:
    """Where a command is that may not be on an ordinary user's path."""
    found = shutil.which(command, path=SEARCH)
    if found is None:
        raise Failure(f"{command} is not there, though its package is installed")
    return found


def make_initrd(folder: Path) -> None:
    """The initial file system: a shell, and the modules in the order in which they need each other."""
    for name in ("machine", "proc"):
        (folder / name).mkdir(parents=True)
    shutil.copy(tool("busybox"), folder / "busybox")
    home = FOLDER / "lib/modules" / release()
    lines = (line.partition(":") for line in (home / "modules.dep").read_text().splitlines())
    needs = {Path(path).stem: [path, *after.split()] for path, _, after in lines}
    order = list(dict.fromkeys(path for name in ("virtio_pci", "virtiofs") for path in reversed(needs[name])))
    for path in order:
        shutil.copy(home / path, folder)
    (folder / "order").write_text("\n".join(Path(path).name for path in order) + "\n")
    (folder / "init").write_text(FIRST)
    (folder / "init").chmod(0o755)
    names = b"\n".join(str(path.relative_to(folder)).encode() for path in folder.rglob("*"))
    packed = subprocess.run(
        [folder / "busybox", "cpio", "-o", "-H", "newc"], cwd=folder, input=names, stdout=subprocess.PIPE, check=True
    )
    (FOLDER / "initrd.new").write_bytes(packed.stdout)
    (FOLDER / "initrd.new").rename(FOLDER / "initrd")  # the last step: what is there is whole


def boot(results: Path, cpu: int, seconds: int) -> Guest:
    """Start a kernel that runs what stands in results/command and powers off."""
    socket, output = results / "virtiofs", results / "output"
    files = [VIRTIOFSD, f"--socket-path={socket}", "-o", "source=/,sandbox=chroot,cache=always,log_level=warn"]
    arguments = {
        "console": "ttyS0", "panic": "-1", "loglevel": "3", "start": str(INIT), "back": "virtiofs",
        "lane": "cloudkernel",
        "results": str(results), "project": str(PROJECT), "modules": str(FOLDER / "lib/modules" / release()),
    }  # fmt: skip
    kernel = [
        *("qemu-system-x86_64", "-accel", "tcg", "-smp", "1", "-m", MEMORY),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"),
        *("-chardev", f"socket,id=files,path={socket}", "-device", "vhost-user-fs-pci,chardev=files,tag=machine"),
        *("-chardev", f"file,id=console,path={output},append=on", "-serial", "chardev:console"),
        *("-kernel", str(FOLDER / f"boot/vmlinuz-{release()}"), "-initrd", str(FOLDER / "initrd")),
        *("-append", " ".join(["quiet", *(f"{name}={value}" for name, value in arguments.items())])),
    ]  # fmt: skip
    with output.open("ab") as out, (results / "files").open("wb") as said:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *files], stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        while not socket.exists():
            if server.poll() is not None:
                raise Failure(f"virtiofsd does not start:\n{(results / 'files').read_text(errors='replace')}")
            time.sleep(0.01)
        process = subprocess.Popen([*bound(seconds, cpu), *kernel], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return Guest(process, results, output, [server])


PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "wg": "wireguard-tools",
}
LANE = Lane("cloud kernel", "cloudkernel", PACKAGES, prepare, boot)

if __name__ == "__main__":
    sys.exit(LANE.main(__doc__))
