"""The sums of a checkpoint's files: what tells a checkpoint that is whole from one that is not.

`checkpoints/<step>/` is complete once its manifest `checkpoints/<step>.sha256` lies beside it: a
process that died in between leaves an unsigned one, and so does a save that was cut short.
"""

import hashlib
import json
from collections.abc import Collection, Iterator

from etils import epath

from training import files

DAMAGED = ".damaged"


def sign(folder: epath.Path, step: int, kept: Collection[int]) -> None:
    """Writes the manifest of a complete save, and drops those of checkpoints not `kept`."""
    sums = checksums(folder / str(step))
    files.write_whole(_manifest(folder, step), json.dumps(sums, indent=1))
    names = {str(s) for s in kept}
    for old in folder.glob("*.sha256"):
        if old.stem not in names:
            old.unlink()


def signed(folder: epath.Path, step: int) -> bool:
    """Whether a checkpoint has its manifest."""
    return _manifest(folder, step).exists()


def fault(folder: epath.Path, step: int) -> str | None:
    """What is wrong with a checkpoint's files; None where nothing is, or where it is unsigned."""
    manifest = _manifest(folder, step)
    if not manifest.exists():
        return None
    try:
        expected = json.loads(manifest.read_text())
    except ValueError:
        return f"{manifest.name} is not JSON"
    found = checksums(folder / str(step))
    for name, value in expected.items():
        if found.get(name) != value:
            return f"{name} is {'missing' if name not in found else 'not what was written'}"
    return None


def set_aside(folder: epath.Path, step: int) -> None:
    """Takes a checkpoint out of the run: a signed one becomes `<step>.damaged`, others vanish.

    In a bucket, where nothing can be renamed, all of them vanish.

    Otherwise the run, gone on from an earlier one, could not save that step again.
    """
    path, manifest = folder / str(step), _manifest(folder, step)
    if not manifest.exists() or files.in_bucket(path):
        path.rmtree(missing_ok=True)
        manifest.unlink(missing_ok=True)
        return
    aside = folder / f"{step}{DAMAGED}"
    aside.rmtree(missing_ok=True)
    path.rename(aside)
    manifest.unlink()


def checksums(folder: epath.Path) -> dict[str, str]:
    """{relative path: sha256} of every file below `folder`."""
    sums = {}
    for path in _files(folder):
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        sums[str(path.relative_to(folder))] = digest.hexdigest()
    return sums


def _manifest(folder: epath.Path, step: int) -> epath.Path:
    return folder / f"{step}.sha256"


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    # Not rglob: on a bucket it is refused.
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
