#!/usr/bin/env python3
"""usage: cpio.py NAME=FILE... >IMAGE

Writes the archive from which Linux fills its first file system (the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst): each FILE under its NAME, executable,
the folders that they need, and the console.
"""
import sys


class Archive:
    def __init__(self, out):
        self.out = out
        self.folders = set()
        self.entries = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.entries += 1
        links = 2 if mode & 0o170000 == 0o040000 else 1
        path = name.encode() + b"\0"
        fields = (self.entries, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(path), 0)
        self.write(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self.write(data)

    def write(self, data):
        self.out.write(data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        if name and name not in self.folders:
            self.folder(name.rpartition("/")[0])
            self.folders.add(name)
            self.add(name, 0o040755)

    def file(self, name, data):
        self.folder(name.rpartition("/")[0])
        self.add(name, 0o100755, data)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    archive = Archive(sys.stdout.buffer)
    archive.folder("dev")
    archive.add("dev/console", 0o020600, device=(5, 1))
    for pair in sys.argv[1:]:
        name, _, path = pair.partition("=")
        with open(path, "rb") as file:
            archive.file(name, file.read())
    archive.add("TRAILER!!!", 0)


main()
