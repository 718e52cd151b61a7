#!/usr/bin/env python3
"""Lists, checks and restores backups of format 1 without the program that made them.

    python3 recover-1.py list                        the backups in the folder that this file lies in
    python3 recover-1.py list ID                     what is in one of them
    python3 recover-1.py check [ID]                  whether everything is as it was stored; --objects: without the contents
    python3 recover-1.py restore ID DEST [PATH...]   everything, or what lies at or below PATH, into the empty folder DEST
    python3 recover-1.py ID DEST [PATH...]           the same

    ID                of a backup, or how it begins; `latest` for the newest; with its environment before it: `live/latest`
    --target DIR      the folder with the backups, if it is another one
    --identity FILE   the private key that sealed backups are opened with; `age` asks for its passphrase if it has one

It needs Python 3.9 and the command `zstd`, for sealed backups `age` too. With `b3sum` it proves every digest; without, it can
only see whether everything is there and unpacks. A bucket is copied to a disk first.

What is damaged is named, and everything else is restored. Exit code 0: all is as it was. 1: something is damaged, missing
or refused. 2: it was called wrongly, or a command is missing. 3: all contents are there, but not all owners, devices or
attributes; or no digest was proven, since there is no `b3sum`.

How it works, from the bottom of the file up: `restore` takes the entries of a backup from its catalog, some ten thousand at a
time (`batches`). For each of these batches it makes the entries, goes once through each stored object that holds some of
their content (`fill`), lets `b3sum` digest the files, compares, and sets owners, modes, attributes and times. Folders get
theirs at the very end. What everything in a target means stands in the manual of the format, docs/FORMAT.md.
"""

import argparse
import array
import base64
import contextlib
import errno
import grp
import gzip
import itertools
import json
import os
import pickle
import pwd
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import zlib

FORMAT = 1
MIB = 1 << 20
BLOCK = MIB                    # read and written at once
SEGMENT_MAX = 64 * MIB         # the plain text of one segment of a catalog; the usual one has half a megabyte
FRAME_MAX = 8 * MIB            # the plain text of one zstd frame; the usual one has 4 MiB
BATCH = 20_000                 # entries, and stretches of content, that are in memory at once
SCRATCH = 1 << 30              # bytes of content that `check` unpacks at once
FILES_AT_ONCE = 500            # for one call of b3sum
PATH_MAX = 2000                # bytes of a path that a command is given; a longer one is opened part by part
PROVES = shutil.which("b3sum") is not None
SHOWN = 10                     # shortfalls of one kind that are told one by one

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
RECOVERY = re.compile(r"RECOVERY\.md|recover-[0-9]+\.py")
ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
DIGEST = re.compile(r"[0-9a-f]{64}")


class Damaged(Exception):
    """Something stored is not what it should be, or is not there."""


class Refused(Exception):
    """Something that no backup has, and that could do harm."""


class Findings:
    """What was found to be wrong. It is told at once, and decides the exit code."""

    def __init__(self):
        self.wrong_count = 0
        self.short_counts = {}

    def wrong(self, text):
        self.wrong_count += 1
        print(f"WRONG  {text}", file=sys.stderr)

    def short(self, what, path, why):
        """Something of an entry could not be set: an owner, a device, an attribute."""
        count = self.short_counts[what] = self.short_counts.get(what, 0) + 1
        if count <= SHOWN:
            print(f"short  {what} of {shown(path)}: {why}", file=sys.stderr)

    def exit_code(self):
        for what, count in self.short_counts.items():
            print(f"short  {what}: {count} in all", file=sys.stderr)
        if self.wrong_count:
            print(f"{self.wrong_count} things are wrong, each named above", file=sys.stderr)
        if not PROVES:
            print("short  `b3sum` is not installed: no digest was proven, only that all is there and unpacks", file=sys.stderr)
        return 1 if self.wrong_count else 3 if self.short_counts or not PROVES else 0


FOUND = Findings()


def shown(path):
    """A path of any bytes, on one line."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# ---------------------------------------------------------------------------------------------------------- BLAKE3 by b3sum


def output_of(command, **more):
    """What a command prints, or None where it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, **more)
    return result.stdout if result.returncode == 0 else None


def unpacked_frame(frame, length):
    """The plain text of one zstd frame, or None where it is damaged."""
    with tempfile.TemporaryFile() as file:
        file.write(frame)
        file.seek(0)
        with subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as zstd:
            text = zstd.stdout.read(length + 1)
    return text if zstd.returncode == 0 and len(text) == length else None


def digest_of_text(text, key):
    """The digest of a text; keyed where `key` is its 32 bytes, which b3sum takes as its input."""
    if key is None:
        digest = output_of(["b3sum", "--no-names"], input=text)
    else:
        with tempfile.TemporaryFile() as file:
            file.write(text)
            file.seek(0)
            number = file.fileno()
            digest = output_of(["b3sum", "--no-names", "--keyed", f"/dev/fd/{number}"], input=key, pass_fds=[number])
    return (digest or b"").decode().strip()


def digest_of_data(descriptor, extents):
    """The digest of an open file; of a file with holes, of what lies between them."""
    with subprocess.Popen(["b3sum", "--no-names"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as b3sum:
        for offset, length in extents:
            while length > 0:
                data = os.pread(descriptor, min(BLOCK, length), offset)
                if not data:
                    break
                b3sum.stdin.write(data)
                offset, length = offset + len(data), length - len(data)
        b3sum.stdin.close()
        return b3sum.stdout.read().decode().strip()


def digests_of_files(folder, names):
    """For each name its digest, or None where there is no such file or it cannot be read."""
    digests = []
    for start in range(0, len(names), FILES_AT_ONCE):
        some = names[start:start + FILES_AT_ONCE]
        lines = (output_of(["b3sum", "--no-names", "--", *some], cwd=folder) or b"").decode().split()
        if len(lines) != len(some):
            each = (output_of(["b3sum", "--no-names", "--", name], cwd=folder) for name in some)
            lines = [one and one.decode().strip() for one in each]
        digests += lines
    return digests


# ------------------------------------------------------------------------------------------------- a target and its objects


class Target:
    """The folder with everything that was stored."""

    def __init__(self, folder, identities):
        self.folder = os.path.abspath(folder)
        self.identities = [os.path.abspath(file) for file in identities]
        self.keys = {}
        self.digested = {}
        if not os.path.isdir(self.path("backups")):
            raise Refused(f"{folder} has no folder `backups`: give the folder with the stored objects by --target")

    def path(self, name):
        return os.path.join(self.folder, name)

    def records(self):
        """Environment and id of every backup."""
        for environment in sorted(os.listdir(self.path("backups"))):
            if NAME.fullmatch(environment) and os.path.isdir(self.path(f"backups/{environment}")):
                for file in sorted(os.listdir(self.path(f"backups/{environment}"))):
                    if file.endswith(".json") and ID.fullmatch(file[:-5]):
                        yield environment, file[:-5]

    def choose(self, wanted):
        """The backup of this id, or whose id begins so; with or without its environment before it. Or the newest one."""
        environment, slash, last = wanted.rpartition("/")
        if last == "latest":
            return self.latest(environment if slash else None)
        found = [one for one in self.records() if one[1].startswith(wanted) or "/".join(one).startswith(wanted)]
        if len(found) == 1:
            return Backup(self, *found[0])
        those = ", ".join("/".join(one) for one in found) or "none"
        raise Refused(f"`{wanted}` must name one backup; those whose id begins so: {those}")

    def latest(self, environment):
        """The newest backup: that with the highest number, whatever the clocks said. Only those of one kind have an order."""
        newest = {}
        for backup in readable(self):
            if environment in (None, backup.environment):
                kind = backup.order()[:3]
                newest[kind] = max(newest.get(kind, backup), backup, key=lambda one: one.order())
        if len(newest) == 1:
            return next(iter(newest.values()))
        those = ", ".join(f"{one.environment}/{one.id} ({one.record['pipeline']} of {one.record['instance']})"
                          for one in newest.values()) or "none"
        raise Refused(f"`latest` must name one backup; the newest of each kind: {those}")

    def is_sound(self, name, digest):
        """Whether a stored object has this digest, as far as it can be proven. Each is digested once."""
        if not PROVES:
            return os.path.isfile(self.path(name))
        if name not in self.digested:
            self.digested[name] = digests_of_files(self.folder, [name])[0]
        return self.digested[name] == digest

    def unlock(self, epoch, check):
        """The keys of an epoch: an age identity, and the key of digests, which `check` tells from others."""
        if (epoch, check) not in self.keys:
            self.keys[epoch, check] = self.open_keys(epoch, check)
        return self.keys[epoch, check]

    def open_keys(self, epoch, check):
        if not self.identities:
            raise Refused(f"the backup is sealed to the key of epoch {epoch}: give --identity FILE")
        with_identities = list(itertools.chain.from_iterable(("-i", file) for file in self.identities))
        folder = self.path("keys")
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if re.fullmatch(re.escape(epoch) + r"-[0-9a-f]{8}\.age", file):
                text = output_of(["age", "-d", *with_identities, os.path.join(folder, file)])
                keys = text and read_keys(text, epoch, check)
                if keys:
                    return keys
                if text is not None:
                    FOUND.wrong(f"keys/{file} opens, but is not the key that the backup was made with")
        raise Refused(f"no key in keys/{epoch}-….age opens with that identity")

    @contextlib.contextmanager
    def opened(self, name, key):
        """A stream of the plain text of an object. Leaving it says, by Damaged, whether all of it could be unpacked."""
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(open(self.path(name), "rb"))
            commands = []
            if name.endswith(".age"):
                # The private key goes through a pipe, so that it never lies on a disk.
                read, write = os.pipe()
                os.write(write, key)
                os.close(write)
                stack.callback(os.close, read)
                commands.append((["age", "-d", "-i", f"/dev/fd/{read}"], [read]))
            kind = name[:-4] if name.endswith(".age") else name
            if kind.endswith(".zst"):
                commands.append((["zstd", "-dcq"], []))
            running = []
            for command, descriptors in commands:
                process = subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                           pass_fds=descriptors)
                stream.close()
                stream = stack.enter_context(process.stdout)
                running.append((command[0], process))
            try:
                yield gzip.GzipFile(fileobj=stream) if kind.endswith(".gz") else stream
                failed = [command for command, process in running if stream.read(1) == b"" and process.wait() != 0]
            finally:
                stream.close()
                for _, process in running:
                    process.wait()
            if failed:
                raise Damaged(f"`{failed[0]}` cannot read all of it")

    def whole(self, name, key, limit):
        """The plain text of a small object."""
        with damage(), self.opened(name, key) as stream:
            text = stream.read(limit + 1)
            if len(text) > limit:
                raise Damaged("it is larger than any that the program writes")
        return text

    def blocks(self, name, key):
        """The plain text of an object in blocks, each with its offset. Where something is damaged there is a gap, which is
        told; an object that is not sealed is then unpacked frame by frame."""
        at = 0
        try:
            with damage(), self.opened(name, key) as stream:
                while block := stream.read(BLOCK):
                    yield at, block
                    at += len(block)
        except Damaged as error:
            FOUND.wrong(f"{name}: {error}")
            if name.endswith(".zst") and os.path.isfile(self.path(name)):
                yield from self.frames_from(name, at)

    def frames_from(self, name, at):
        """What of the plain text from `at` on can still be unpacked, frame by frame. The table of frames stands at the end."""
        with open(self.path(name), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 9))
            footer = file.read(9)
            count, kind, magic = struct.unpack("<IBI", footer) if len(footer) == 9 else (0, 0, 0)
            table_at = size - 17 - 8 * count
            if (kind, magic) != (0, 0x8F92EAB1) or table_at < 0:
                FOUND.wrong(f"{name}: its table of frames is damaged too, so what lies behind the damage is lost")
                return
            file.seek(table_at + 8)
            stored_at = plain_at = 0
            for stored, plain in struct.iter_unpack("<II", file.read(8 * count)):
                if plain_at + plain > at and max(stored, plain) <= FRAME_MAX:
                    file.seek(stored_at)
                    text = unpacked_frame(file.read(stored), plain)
                    if text is not None:
                        yield max(at, plain_at), text[max(0, at - plain_at):]
                    else:
                        FOUND.wrong(f"{name}: bytes {plain_at} to {plain_at + plain} of its plain text are lost")
                stored_at, plain_at = stored_at + stored, plain_at + plain


@contextlib.contextmanager
def damage():
    """Makes what can go wrong while an object is read one kind of error."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged("it is missing") from error
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(str(error)) from error


def read_keys(text, epoch, check):
    """An epoch's keys: an age identity file with comments. None where they are others than the backup was made with."""
    notes = dict(re.findall(rb"^# ([a-z-]+(?: epoch)?):? +(\S+)$", text, re.MULTILINE))
    try:
        chunk_key = base64.b64decode(notes.get(b"chunk-key", b""))
    except ValueError:
        return None
    if notes.get(b"strongroom epoch") != epoch.encode() or len(chunk_key) != 32:
        return None
    # An epoch is named by the digest of its public key, which `age-keygen`, a part of age, knows.
    public = output_of(["age-keygen", "-y"], input=text) if shutil.which("age-keygen") else None
    if PROVES and public and not digest_of_text(public.strip(), None).startswith(epoch):
        return None
    # Older backups do not say which key of digests is theirs.
    if PROVES and check and not derived(chunk_key).startswith(check):
        return None
    return text, chunk_key


def derived(chunk_key):
    """What tells a key of digests from others, in hex."""
    context = "strongroom 2026 what tells one chunk key from another"
    return (output_of(["b3sum", "--no-names", "--derive-key", context], input=chunk_key) or b"").decode().strip()


class Plain:
    """The plain text of an object, read forward."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.at, self.block = 0, memoryview(b"")

    def forward(self):
        """Goes to the next block; False at the end."""
        self.at, block = next(self.blocks, (0, b""))
        self.block = memoryview(block)
        return bool(block)


# --------------------------------------------------------------------------------------------------- a backup and its catalog


# What reading JSON ends in where it is not what the program writes.
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


class Entry:
    """An entry of a backup: one line of its catalog, checked."""

    __slots__ = ("parts", "key", "kind", "mode", "uid", "gid", "user", "group", "mtime", "size", "extents", "blake3", "runs",
                 "target", "first", "device", "xattrs")

    def __init__(self, line, backup, packs):
        path = text_or_base64(line, "path")
        self.parts = safe_parts(path)
        source = self.parts[0].decode()
        if source not in backup.places:
            raise Refused(f"{shown(path)}: the record has no such source")
        # Sources stand in the order of the record, paths in the order of their parts.
        self.key = (backup.places[source], self.parts[1:])
        self.kind = line["kind"]
        if self.kind == "gone":
            return
        if len(self.parts) == 1 and self.kind != "folder":
            raise Refused(f"{shown(path)}: what a source begins with is a folder")
        self.mode = int(line["mode"], 8) & 0o7777
        self.uid, self.gid = int(line.get("uid", 0)), int(line.get("gid", 0))
        self.user, self.group = (str(line[name]) if name in line else None for name in ("user", "group"))
        seconds, nanoseconds = line.get("mtime", (0, 0))
        self.mtime = int(seconds) * 1_000_000_000 + int(nanoseconds)
        decode = base64.b64decode
        self.xattrs = {name.encode(): decode(value) for name, value in line.get("xattrs", ())}
        self.xattrs.update({decode(name): decode(value) for name, value in line.get("xattrs-b64", ())})
        self.size, self.extents, self.blake3, self.runs = 0, None, None, []
        self.target = self.first = self.device = None
        if self.kind == "file":
            self.read_content(line, backup, packs)
        elif self.kind == "link":
            self.target = text_or_base64(line, "target")
        elif self.kind == "hard-link":
            self.first = [self.parts[0], *safe_parts(text_or_base64(line, "first"))]
        elif self.kind in ("char-device", "block-device"):
            major, minor = line["device"]
            self.device = os.makedev(int(major), int(minor))
        elif self.kind not in ("folder", "fifo"):
            raise Refused(f"{shown(path)}: there is no kind `{self.kind}`")

    def read_content(self, line, backup, packs):
        """Where a file's data lies: in the archive, or in stretches of packs. The data of a file with holes are its extents."""
        self.size, self.blake3 = int(line["size"]), line["blake3"]
        end = 0
        if line.get("extents") is not None:
            self.extents = [(int(offset), int(length)) for offset, length in line["extents"]]
            for offset, length in self.extents:
                if offset < end or length <= 0:
                    raise Refused(f"{self}: its extents overlap")
                end = offset + length
        if not 0 <= end <= self.size:
            raise Refused(f"{self}: it has data beyond its size")
        if backup.archive:
            self.runs = [(backup.archive, int(line["data"]), self.data_bytes())]
        else:
            self.runs = [(packs[number], int(offset), int(length)) for number, offset, length in line.get("runs", ())]
        if any(offset < 0 or length < 0 for _, offset, length in self.runs):
            raise Refused(f"{self}: its content lies nowhere")
        if sum(length for _, _, length in self.runs) != self.data_bytes():
            raise Refused(f"{self}: its content is not as long as its data")

    def __str__(self):
        return shown(self.path())

    def path(self):
        return b"/".join(self.parts)

    def data(self):
        """Where in the file its data lies: offset and length."""
        return [(0, self.size)] if self.extents is None else self.extents

    def data_bytes(self):
        return sum(length for _, length in self.data())

    def pieces(self):
        """Each stretch of its content: object, offset in its plain text, length, and offset in the file."""
        extents, at, room = iter(self.data()), 0, 0
        for name, offset, length in self.runs:
            while length > 0:
                if room == 0:
                    at, room = next(extents)
                now = min(length, room)
                yield name, offset, now, at
                offset, length, at, room = offset + now, length - now, at + now, room - now


def text_or_base64(line, key):
    """A value of any bytes: text where they are UTF-8, else base64 under another key."""
    return line[key].encode() if key in line else base64.b64decode(line[key + "-b64"])


def safe_parts(path):
    """A path in parts; one that could lead out of its folder is refused."""
    parts = path.split(b"/")
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise Refused(f"the path `{shown(path)}` could lead elsewhere")
    return parts


class Backup:
    """A backup: its record, which names everything else."""

    def __init__(self, target, environment, number):
        self.target, self.environment, self.id = target, environment, number
        self.name = f"backups/{environment}/{number}.json"
        try:
            with damage(), open(target.path(self.name), "rb") as file:
                self.record = json.loads(file.read())
            if self.record["format"] > FORMAT:
                raise Refused(f"{self.name} has format {self.record['format']}: a recover script of that number reads it")
            self.read_record()
        except NOT_OURS as error:
            raise Damaged(f"{self.name} is not a record of format {FORMAT}") from error

    def read_record(self):
        record = self.record
        if (record["environment"], record["id"]) != (self.environment, self.id):
            raise ValueError("another name")
        self.epoch, self.check = record.get("epoch"), record.get("epoch-check")
        sealed = ".age" if self.epoch else ""
        if self.epoch and not re.fullmatch(r"[0-9a-f]{16}", self.epoch):
            raise ValueError("no epoch")
        self.places = {source["name"]: place for place, source in enumerate(record["sources"])}
        self.archive = None
        if record.get("archive"):
            ends = {"zstd": ".tar.zst", "gzip": ".tar.gz", "none": ".tar"}
            self.archive = f"archives/{self.environment}/{self.id}{ends[record['archive']['codec']]}{sealed}"
        segment = re.compile(r"catalogs/([0-9a-f]{64})\.jsonl\.zst" + re.escape(sealed))
        names = [one["name"] for one in self.segments()]
        if not (all(segment.fullmatch(name) for name in names) and DIGEST.fullmatch(record["refs"]["blake3"])):
            raise ValueError("other names than the format has")
        self.refs = f"refs/{record['refs']['blake3']}.txt.zst"
        self.recovery = {name: digest for name, digest in record.get("recovery", {}).items() if RECOVERY.fullmatch(name)}
        for source in record["sources"]:
            if not NAME.fullmatch(source["name"]) or not source["entries"] >= 0 <= source["bytes"]:
                raise ValueError("no source")
        self.order()
        self.pack_end = ".tar.zst" + sealed
        # An archive is read from front to back, so its stream goes on from one batch to the next.
        self.archive_plain = None

    def order(self):
        record = self.record
        return self.environment, str(record["pipeline"]), str(record["instance"]), int(record["sequence"]), self.id

    def segments(self):
        return self.record["segments"] + self.record.get("patch", [])

    def identity(self):
        return self.target.unlock(self.epoch, self.check)[0] if self.epoch else None

    def plain(self, name):
        """The plain text of an object with content."""
        if name != self.archive:
            return Plain(self.target.blocks(name, self.identity()))
        if self.archive_plain is None:
            self.archive_plain = Plain(self.target.blocks(name, self.identity()))
        return self.archive_plain

    def objects(self):
        """Name and digest of every object that the backup needs, but its record and sums."""
        record = self.record
        objects = {one["name"]: DIGEST.search(one["name"]).group() for one in self.segments()}
        objects[self.refs] = record["refs"]["blake3"]
        if self.archive:
            objects[self.archive] = record["archive"]["blake3"]
        try:
            for line in self.target.whole(self.refs, None, 256 * MIB).decode().splitlines():
                name = line.split(" ")[0]
                if re.fullmatch(r"packs/[0-9a-f]{2}/[0-9a-f]{64}" + re.escape(self.pack_end), name):
                    objects[name] = DIGEST.search(name).group()
        except (Damaged, UnicodeDecodeError) as error:
            FOUND.wrong(f"{self.refs}: {error}")
        return objects

    def name_damaged(self, names):
        """Says which of these objects are damaged."""
        for name in names:
            digest = self.record["archive"]["blake3"] if name == self.archive else DIGEST.search(name).group()
            if PROVES and name not in self.target.digested and not self.target.is_sound(name, digest):
                FOUND.wrong(f"{name}: its bytes are not those that were stored")

    def entries(self):
        """Every entry, in order: the lines of the base, with what the patch says instead."""
        base = self.lines(self.record["segments"], "")
        patch = self.lines(self.record.get("patch", []), ": entries may be of an older backup, or not be there any more")
        old, new = next(base, None), next(patch, None)
        last = None
        while old or new:
            if new is None or (old and old.key < new.key):
                entry, old = old, next(base, None)
            else:
                if old and old.key == new.key:
                    old = next(base, None)
                entry, new = new, next(patch, None)
            if last is not None and entry.key <= last:
                FOUND.wrong(f"{entry}: refused, since it stands twice or out of order")
                continue
            last = entry.key
            if entry.kind != "gone":
                yield entry

    def lines(self, segments, without):
        """The lines of some segments; a segment is in memory whole. `without` says what a missing one means."""
        for segment in segments:
            try:
                text = self.read_segment(segment)
            except Damaged as error:
                FOUND.wrong(f"{segment['name']}: {error}; what it lists cannot be known{without}")
                continue
            packs = []
            for number, line in enumerate(text.splitlines()):
                try:
                    line = json.loads(line)
                    if number == 0 and "packs" in line:
                        packs = [f"packs/{d[:2]}/{DIGEST.fullmatch(d).group()}{self.pack_end}" for d in line["packs"]]
                    elif line["kind"] != "superseded":
                        yield Entry(line, self, packs)
                except Refused as error:
                    FOUND.wrong(f"{segment['name']}, line {number + 1}: refused: {error}")
                except NOT_OURS:
                    FOUND.wrong(f"{segment['name']}, line {number + 1}: refused, since it is no line of a catalog")

    def read_segment(self, segment):
        text = self.target.whole(segment["name"], self.identity(), SEGMENT_MAX)
        key = self.target.unlock(self.epoch, self.check)[1] if self.epoch else None
        if len(text) != segment["plain-bytes"] or PROVES and digest_of_text(text, key) != segment["blake3"]:
            raise Damaged("its text is not that of the record")
        return text

    def check_counts(self, counts):
        """Compares what was seen with what the record says. `counts`: for each source entries and bytes."""
        for source in self.record["sources"]:
            seen = counts.get(self.places[source["name"]], (0, 0))
            if seen != (source["entries"], source["bytes"]):
                FOUND.wrong(f"source `{source['name']}`: {seen[0]} entries with {seen[1]} bytes were found, the record says "
                            f"{source['entries']} with {source['bytes']}")


# ---------------------------------------------------------------------------------------------------------------- contents


def batches(entries, most_bytes=None):
    """Entries in lists that fit into memory; where it is said, with no more than so many bytes of data unless in one file."""
    batch, weight, data = [], 0, 0
    for entry in entries:
        weight += 1 + len(entry.runs)
        data += entry.data_bytes()
        if batch and (weight > BATCH or most_bytes and data > most_bytes):
            yield batch
            batch, weight, data = [], 1 + len(entry.runs), entry.data_bytes()
        batch.append(entry)
    if batch:
        yield batch


def fill(backup, files, opener):
    """Writes the contents of `files`: goes once through each object that holds some. `opener` opens a file by its place in
    the list. What cannot be had is not written. Gives how many bytes each file got."""
    objects, got = {}, [0] * len(files)
    for number, entry in enumerate(files):
        for name, offset, length, at in entry.pieces():
            objects.setdefault(name, []).append((offset, length, number, at))
    for name, pieces in objects.items():
        with contextlib.closing(Writer(opener, got)) as writer:
            scatter(backup.plain(name), pieces, writer.write)
    return got


def scatter(plain, pieces, write):
    """Goes forward through a plain text and writes each piece of it, in whatever order and however often they are wanted."""
    pieces.sort(reverse=True)
    under_way = []
    while True:
        behind = plain.at + len(plain.block)
        while pieces and pieces[-1][0] < behind:
            under_way.append(pieces.pop())
        for offset, length, number, at in under_way:
            start, end = max(offset, plain.at), min(offset + length, behind)
            if start < end:
                write(number, at + start - offset, plain.block[start - plain.at:end - plain.at])
        under_way = [piece for piece in under_way if piece[0] + piece[1] > behind]
        if not (pieces or under_way) or not plain.forward():
            return


class Writer:
    """Writes into files, of which the last one stays open."""

    def __init__(self, opener, got):
        self.opener, self.got, self.number, self.descriptor = opener, got, None, None

    def write(self, number, at, data):
        if number != self.number:
            self.close()
            self.descriptor, self.number = self.opener(number), number
        self.got[number] += len(data)
        while data:
            written = os.pwrite(self.descriptor, data, at)
            at, data = at + written, data[written:]

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = self.number = None


def verify(backup, files, got, folder, names, opener):
    """The files whose content is not what the catalog says, each told. `names` are their paths in `folder`."""
    # What did not get all of its bytes needs no digest.
    whole = [number for number, entry in enumerate(files) if got[number] == entry.data_bytes()]
    good = set(whole)
    if PROVES:
        many = [number for number in whole if files[number].extents is None and len(names[number]) <= PATH_MAX]
        digests = dict(zip(many, digests_of_files(folder, [names[number] for number in many])))
        for number in sorted(good.difference(many)):
            descriptor = opener(number)
            digests[number] = digest_of_data(descriptor, files[number].data())
            os.close(descriptor)
        good = {number for number in whole if digests[number] == files[number].blake3}
    wrong = [entry for number, entry in enumerate(files) if number not in good]
    for entry in wrong:
        backup.name_damaged(sorted({name for name, _, _ in entry.runs}))
        FOUND.wrong(f"{entry}: its content is lost or damaged")
    return wrong


# -------------------------------------------------------------------------------------------------------------------- a tree


NO_LINKS = os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """What is restored, below one folder. Every path is walked part by part, and none through a link."""

    def __init__(self, root):
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.at, self.descriptor = [], os.dup(self.root)
        self.is_root = os.geteuid() == 0
        self.not_made = set()
        # Folders get their properties last: until then this user can go in, and nothing changes their times any more.
        self.folders, self.folder_places = tempfile.TemporaryFile(dir=root), array.array("Q")

    def folder(self, parts, missing="make"):
        """A descriptor of the folder, which is this object's own. The last one is kept: the next is often near."""
        if parts != self.at:
            below = parts[:len(self.at)] == self.at
            here, todo = (os.dup(self.descriptor), parts[len(self.at):]) if below else (os.dup(self.root), parts)
            for number, part in enumerate(todo):
                try:
                    try:
                        deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | NO_LINKS, dir_fd=here)
                    except FileNotFoundError:
                        if missing != "make":
                            raise
                        path = b"/".join(parts[:len(parts) - len(todo) + number + 1])
                        FOUND.wrong(f"{shown(path)}: the catalog does not list this folder; it is made as one of this user's")
                        os.mkdir(part, 0o700, dir_fd=here)
                        deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | NO_LINKS, dir_fd=here)
                finally:
                    os.close(here)
                here = deeper
            os.close(self.descriptor)
            self.at, self.descriptor = parts, here
        return self.descriptor

    def open(self, entry, flags):
        return os.open(entry.parts[-1], flags | NO_LINKS, dir_fd=self.folder(entry.parts[:-1]))

    def make(self, entry):
        """Makes an entry that is not there yet, without its content and properties. False where it cannot be."""
        try:
            return self.make_kind(entry)
        except (OSError, ValueError, OverflowError) as error:
            number = getattr(error, "errno", None)
            if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise
            in_the_way = number in (errno.ELOOP, errno.ENOTDIR)
            why = "a link or a file stands where its folder belongs" if in_the_way else error
            FOUND.wrong(f"{entry}: refused: {why}")
            return False

    def make_kind(self, entry):
        name, folder = entry.parts[-1], self.folder(entry.parts[:-1])
        if entry.kind == "folder":
            os.mkdir(name, 0o700, dir_fd=folder)
            self.folder_places.append(self.folders.tell())
            pickle.dump(entry, self.folders)
            if len(entry.parts) == 1:
                self.forget_lists(entry)
        elif entry.kind == "file":
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS, 0o600, dir_fd=folder)
            os.ftruncate(descriptor, entry.size)
            os.close(descriptor)
        elif entry.kind == "link":
            os.symlink(entry.target, name, dir_fd=folder)
        elif entry.kind == "hard-link":
            return self.make_hard_link(entry)
        elif entry.kind == "fifo":
            os.mkfifo(name, 0o600, dir_fd=folder)
        else:
            kind = stat.S_IFCHR if entry.kind == "char-device" else stat.S_IFBLK
            try:
                os.mknod(name, kind | 0o600, entry.device, dir_fd=folder)
            except PermissionError as error:
                self.not_made.add(entry.path())
                FOUND.short("device", entry.path(), error)
                return False
        return True

    def make_hard_link(self, entry):
        if b"/".join(entry.first) in self.not_made:
            FOUND.short("device", entry.path(), "its first name is not there")
            return False
        folder = os.dup(self.folder(entry.parts[:-1]))
        try:
            first = self.folder(entry.first[:-1], missing="fail")
            os.link(entry.first[-1], entry.parts[-1], src_dir_fd=first, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            FOUND.wrong(f"{entry}: lost, as its first name {shown(b'/'.join(entry.first))}")
            return False
        finally:
            os.close(folder)
        return True

    def forget_lists(self, entry):
        """Takes off a source's folder what the folder around it handed down, so that nothing below gets it either."""
        for name in (b"system.posix_acl_default", b"system.posix_acl_access"):
            with contextlib.suppress(OSError, AttributeError):
                os.removexattr(self.by_descriptor(entry), name)

    def remove(self, entry):
        os.unlink(entry.parts[-1], dir_fd=self.folder(entry.parts[:-1]))

    def by_descriptor(self, entry):
        """A short path to the entry, for calls that take no folder."""
        return b"/proc/self/fd/%d/%s" % (self.folder(entry.parts[:-1]), entry.parts[-1])

    def set_properties(self, entry, numeric_owner):
        """Owner, mode, attributes and time of last change, in the order in which none undoes another."""
        if entry.kind == "hard-link":
            return
        name, folder = entry.parts[-1], self.folder(entry.parts[:-1])
        uid, gid = (entry.uid, entry.gid) if numeric_owner else owner_here(entry)
        mode = entry.mode
        if self.is_root:
            self.attempt("owner", entry, lambda: os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False))
        elif (uid, gid) != (os.geteuid(), os.getegid()):
            FOUND.short("owner", entry.path(), "only root can give entries away")
            if entry.kind != "folder":
                # A program that ran as its owner must not come to run as this user.
                mode &= ~((0o4000 if uid != os.geteuid() else 0) | (0o2000 if gid != os.getegid() else 0))
        if entry.kind != "link":
            self.attempt("mode", entry, lambda: os.chmod(name, mode, dir_fd=folder))
        for attribute, value in sorted(entry.xattrs.items()):
            self.attempt("attribute", entry, lambda a=attribute, v=value: self.set_attribute(entry, a, v))
        times = (entry.mtime, entry.mtime)
        self.attempt("time", entry, lambda: os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False))

    def set_attribute(self, entry, attribute, value):
        if not hasattr(os, "setxattr"):
            raise OSError(errno.ENOTSUP, "this system has no such attributes")
        os.setxattr(self.by_descriptor(entry), attribute, value, follow_symlinks=False)

    @staticmethod
    def attempt(what, entry, action):
        try:
            action()
        except (OSError, ValueError, OverflowError) as error:
            FOUND.short(what, entry.path(), error)

    def finish(self, numeric_owner):
        """Sets the properties of folders, those within others first."""
        for place in reversed(self.folder_places):
            self.folders.seek(place)
            self.set_properties(pickle.load(self.folders), numeric_owner)
        self.folders.close()


OWNERS = {}


def owner_here(entry):
    """The owner and group of the same name on this host, else of the same number."""
    def number(find, name, otherwise):
        if (find, name) not in OWNERS:
            try:
                OWNERS[find, name] = find(name)[2]
            except (KeyError, TypeError):
                OWNERS[find, name] = None
        found = OWNERS[find, name]
        return otherwise if found is None else found
    return number(pwd.getpwnam, entry.user, entry.uid), number(grp.getgrnam, entry.group, entry.gid)


# ------------------------------------------------------------------------------------------------------------ what can be asked


def list_backups(target):
    """The backups, the newest of each kind last: that is the one with the highest number, whatever the clocks said."""
    for backup in sorted(readable(target), key=lambda backup: backup.order()):
        record = backup.record
        entries, size = (sum(source[key] for source in record["sources"]) for key in ("entries", "bytes"))
        sealed = f"  sealed to {backup.epoch}" if backup.epoch else ""
        print(f"{backup.environment}/{backup.id}  {record['started']}  {record['pipeline']} of {record['instance']}, "
              f"number {record['sequence']}: {entries} entries, {size} bytes{sealed}")


def list_entries(backup):
    for entry in backup.entries():
        owner = f"{entry.user or entry.uid}:{entry.group or entry.gid}"
        target = f" -> {shown(entry.target)}" if entry.target else ""
        print(f"{entry.kind:12} {entry.mode:04o} {owner} {entry.size:>13} {entry}{target}")


def check(target, backups, only_objects):
    """Digests of all stored objects, then of all contents."""
    for backup in backups:
        try:
            print(f"{backup.name}: objects")
            check_objects(target, backup)
            if not only_objects:
                print(f"{backup.name}: contents")
                check_contents(backup)
        except (Damaged, Refused) as error:
            FOUND.wrong(str(error))


def check_objects(target, backup):
    objects = backup.objects()
    try:
        with damage(), open(target.path(f"sums/{backup.environment}/{backup.id}.b3"), encoding="utf-8") as file:
            sums = {name: digest for digest, name in (line.rstrip("\n").split("  ", 1) for line in file)}
        objects[backup.name] = sums.pop(backup.name, "")
        if any(objects.get(name) != digest for name, digest in sums.items()):
            FOUND.wrong(f"sums/{backup.environment}/{backup.id}.b3 does not say what the record says")
    except (Damaged, ValueError) as error:
        FOUND.wrong(f"sums/{backup.environment}/{backup.id}.b3: {error}")
    unseen = [name for name in objects if name not in target.digested] if PROVES else []
    target.digested.update(zip(unseen, digests_of_files(target.folder, unseen)))
    for name, digest in objects.items():
        if not os.path.isfile(target.path(name)) or PROVES and target.digested[name] is None:
            FOUND.wrong(f"{name} is missing or cannot be read")
        elif not target.is_sound(name, digest):
            FOUND.wrong(f"{name}: its bytes are not those that were stored")
    for name, digest in backup.recovery.items() if PROVES else ():
        stem, end = os.path.splitext(name)
        if digest not in digests_of_files(target.folder, [name, f"{stem}-{digest}{end}"]):
            FOUND.wrong(f"{name} is not the one that was stored with this backup")


def check_contents(backup):
    counts = {}
    for batch in batches(backup.entries(), SCRATCH):
        count(batch, counts)
        files = [entry for entry in batch if entry.kind == "file"]
        with tempfile.TemporaryDirectory() as scratch:
            def opener(number, scratch=scratch):
                return os.open(f"{scratch}/{number}", os.O_RDWR | os.O_CREAT, 0o600)
            for number in range(len(files)):
                os.close(opener(number))
            got = fill(backup, files, opener)
            verify(backup, files, got, scratch, [b"%d" % number for number in range(len(files))], opener)
    backup.check_counts(counts)


def count(batch, counts):
    for entry in batch:
        entries, size = counts.get(entry.key[0], (0, 0))
        counts[entry.key[0]] = (entries + 1, size + entry.size)


class Wanted:
    """What of a backup is wanted: what lies at or below some paths, and the folders above. Without paths everything."""

    def __init__(self, backup, paths):
        self.paths = [safe_parts(os.fsencode(path).strip(b"/")) for path in paths]
        self.unseen = {b"/".join(path) for path in self.paths}
        # A second name needs its first one, which stands before it.
        links = (entry for entry in backup.entries() if entry.kind == "hard-link" and self.is_below(entry))
        self.firsts = {b"/".join(entry.first) for entry in links} if paths else set()
        whole = self.unseen | self.firsts
        self.above = {path[:place] for path in whole for place, byte in enumerate(path) if byte == ord("/")}

    def is_below(self, entry):
        return any(entry.parts[:len(path)] == path for path in self.paths)

    def has(self, entry):
        path = entry.path()
        self.unseen.discard(path)
        return not self.paths or path in self.firsts or path in self.above or self.is_below(entry)


def restore(backup, destination, paths, numeric_owner, keep_damaged):
    wanted = Wanted(backup, paths)
    os.makedirs(destination, mode=0o700, exist_ok=True)
    if os.listdir(destination):
        raise Refused(f"{destination} is not empty")
    destination = os.path.abspath(destination)
    tree, counts, kept = Tree(destination), {}, {}
    for batch in batches(counted(backup.entries(), counts, wanted)):
        made = [entry for entry in batch if tree.make(entry)]
        files = [entry for entry in made if entry.kind == "file"]
        got = fill(backup, files, lambda number: tree.open(files[number], os.O_WRONLY))
        names = [entry.path() for entry in files]
        wrong = verify(backup, files, got, destination, names, lambda number: tree.open(files[number], os.O_RDONLY))
        lost = set() if keep_damaged else {entry.path() for entry in wrong}
        for entry in made:
            if entry.path() in lost:
                tree.remove(entry)
            elif entry.kind == "hard-link" and b"/".join(entry.first) in lost:
                FOUND.wrong(f"{entry}: lost, as its first name {shown(b'/'.join(entry.first))}")
                tree.remove(entry)
            elif entry.kind != "folder":
                tree.set_properties(entry, numeric_owner)
        count((entry for entry in made if entry.path() not in lost), kept)
        if sys.stderr.isatty():
            print(f"  {sum(one for one, _ in kept.values())} entries restored ...", end="\r", file=sys.stderr)
    tree.finish(numeric_owner)
    backup.check_counts(counts)
    entries, size = (sum(one[place] for one in kept.values()) for place in (0, 1))
    for path in sorted(wanted.unseen):
        FOUND.wrong(f"{shown(path)}: the backup has no such path; `list ID` shows what there is")
    print(f"{entries} entries with {size} bytes restored to {destination}")


def counted(entries, counts, wanted):
    """Counts all entries, and passes on those that are wanted."""
    for entry in entries:
        count([entry], counts)
        if wanted.has(entry):
            yield entry


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--target", metavar="DIR", default=os.path.dirname(os.path.abspath(__file__)),
                        help="the folder with the backups; the one that this file lies in")
    common.add_argument("--identity", metavar="FILE", action="append", default=[], help="private key of sealed backups")
    words = sys.argv[1:]
    if words and not words[0].startswith("-") and words[0] not in ("list", "check", "restore"):
        words.insert(0, "restore")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("list", parents=[common], help="the backups, or what is in one")
    verb.add_argument("id", nargs="?", metavar="ID")
    verb = verbs.add_parser("check", parents=[common], help="whether everything is as it was stored")
    verb.add_argument("id", nargs="?", metavar="ID")
    verb.add_argument("--objects", action="store_true", help="the stored objects only, which needs no key")
    verb = verbs.add_parser("restore", parents=[common], help="into an empty folder")
    verb.add_argument("id", metavar="ID")
    verb.add_argument("destination", metavar="DEST")
    verb.add_argument("paths", nargs="*", metavar="PATH", help="as `list ID` shows them: SOURCE/PATH")
    verb.add_argument("--numeric-owner", action="store_true", help="owners by number, also where this host knows the name")
    verb.add_argument("--keep-damaged", action="store_true", help="keep files of which a part is lost, with zeros in its place")
    return parser.parse_args(words)


def run(options):
    target = Target(options.target, options.identity)
    if options.verb == "list" and not options.id:
        list_backups(target)
    elif options.verb == "list":
        list_entries(target.choose(options.id))
    elif options.verb == "check":
        chosen = [target.choose(options.id)] if options.id else readable(target)
        check(target, chosen, options.objects)
        if not FOUND.wrong_count:
            print("nothing is missing and nothing has changed" if PROVES else "nothing is missing")
    else:
        restore(target.choose(options.id), options.destination, options.paths, options.numeric_owner, options.keep_damaged)


def readable(target):
    """Every backup whose record can be read."""
    for environment, number in target.records():
        try:
            yield Backup(target, environment, number)
        except (Damaged, Refused) as error:
            FOUND.wrong(str(error))


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    options = arguments()
    needed = ["zstd"] + (["age"] if options.identity else [])
    missing = [command for command in needed if not shutil.which(command)]
    if missing:
        print(f"commands are missing; get them by: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    unread = [file for file in options.identity if not os.access(file, os.R_OK)]
    if unread:
        print(f"this identity file cannot be read: {', '.join(unread)}", file=sys.stderr)
        return 2
    if not PROVES:
        print("warning: `b3sum` is not installed, so no digest can be proven (apt-get install b3sum)", file=sys.stderr)
    try:
        run(options)
    except KeyboardInterrupt:
        return 130
    except (Damaged, Refused) as error:
        FOUND.wrong(str(error))
    except OSError as error:
        FOUND.wrong(f"given up: {error}")
    return FOUND.exit_code()


if __name__ == "__main__":
    sys.exit(main())
