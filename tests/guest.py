"""A kernel of its own for tests: Debian's, in QEMU without hardware help, over this machine's files, read-only.

For what this machine's kernel has given away, as the controllers of cgroup v2 where cgroup v1 is mounted. Boots in some
seconds; what runs in it is ten times slower.
"""

import gzip
import io
import os
import shutil
import subprocess
from pathlib import Path

#: As Debian names them; the kernel is only unpacked.
PACKAGES = ("qemu-system-x86", "busybox-static")
KERNEL = "linux-image-amd64"
#: To see this machine's files (9p over virtio), in the order in which they must be loaded.
MODULES = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "fs/netfs/netfs", "fs/fscache/fscache",
    "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p",
)  # fmt: skip
MACHINE = (
    "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-nodefaults", "-no-reboot",
    "-nographic", "-serial", "stdio",
    "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
)  # fmt: skip
SECONDS = 600.0
INIT = """\
#!/bin/busybox sh
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /new
/bin/busybox mount -t proc proc /new/proc
/bin/busybox mount -t sysfs sys /new/sys
/bin/busybox mount -t cgroup2 cgroup /new/sys/fs/cgroup
/bin/busybox mount -t tmpfs tmp /new/tmp
/bin/busybox mount -t devtmpfs dev /new/dev
/bin/busybox mkdir -p /new/dev/pts
/bin/busybox mount -t devpts pts /new/dev/pts
/bin/busybox cp /story /new/tmp/story
/bin/busybox chroot /new /bin/sh /tmp/story
/bin/busybox poweroff -f
"""


class Guest:
    """A machine that runs one shell script as its first process, and is gone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Fetch and unpack the kernel. Raises CalledProcessError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        found = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=True).stdout
        package = next(line.split()[1] for line in found.splitlines() if "Depends: linux-image" in line)
        subprocess.run(["apt-get", "-qq", "download", package], cwd=self.directory, capture_output=True, check=True)
        (archive,) = self.directory.glob("*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(self.directory)], check=True)
        archive.unlink()

    @property
    def is_prepared(self) -> bool:
        return any(self.directory.glob("boot/vmlinuz-*")) and not any(self.directory.glob("*.deb"))

    def run(self, script: str) -> str:
        """Boot, run the script, and return all that was printed."""
        (kernel,) = self.directory.glob("boot/vmlinuz-*")
        first = self.directory / "initrd.gz"
        first.write_bytes(gzip.compress(self._first_files(script), compresslevel=1))
        words = ["-kernel", str(kernel), "-initrd", str(first), "-append", "console=ttyS0 quiet panic=-1"]
        done = subprocess.run(
            [*MACHINE, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True
        )
        return done.stdout.decode(errors="replace")

    def _first_files(self, script: str) -> bytes:
        (modules,) = self.directory.glob("lib/modules/*/kernel")
        files = {
            "init": INIT.format(modules=" ".join(Path(name).name for name in MODULES)).encode(),
            "story": script.encode(),
        }
        files["bin/busybox"] = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
        for name in MODULES:
            files[f"modules/{Path(name).name}.ko"] = (modules / f"{name}.ko").read_bytes()
        archive = io.BytesIO()
        for name in ("bin", "modules", "new"):
            archive.write(_entry(name, b"", 0o40755))
        for name, data in files.items():
            archive.write(_entry(name, data, 0o100755))
        archive.write(_entry("TRAILER!!!", b"", 0))
        return archive.getvalue()


def _entry(name: str, data: bytes, mode: int) -> bytes:
    """Return one entry of a cpio archive in the new format, as the kernel reads it (initramfs-buffer-format)."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(f"{number:08x}".encode() for number in numbers)
    return _padded(head + os.fsencode(name) + b"\0") + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def missing() -> list[str]:
    """Return the packages that are not here."""
    programs = {"qemu-system-x86": "qemu-system-x86_64", "busybox-static": "busybox"}
    return [package for package, program in programs.items() if not shutil.which(program)]
