"""Owns the Python environments of engines: where they lie, which are there, how one is made and removed.

An environment is a folder below `MINDSQL_HOME`, named by a hash of its recipe, of the Python that it is made with and
of the platform. It is made under a temporary name and renamed, so that what is there is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mindsql.engine import Environment, context
from mindsql.errors import Cancelled, EngineError, EngineMissingError

_ALWAYS = ("pyarrow>=15", "pandas>=2.0")
"""What every worker needs beside its engine's library: rows come as Arrow, and engines want data frames."""
_RECIPE = "environment.json"
_LOCK = "requirements.lock"
_OLDEST = (3, 10)
_POLL_SECONDS = 0.1


def home() -> Path:
    """The folder of what belongs to no database: `MINDSQL_HOME`, else `~/.mindsql`."""
    return Path(os.environ.get("MINDSQL_HOME") or Path.home() / ".mindsql")


@dataclass(frozen=True)
class Installed:
    """An environment that is there.

    Attributes:
        folder: Where.
        name: What it was made for.
        recipe: What it was made of.
        version: The version of its Python.
    """

    folder: Path
    name: str
    recipe: Environment
    version: str

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(_python_of(self.folder))

    @property
    def size(self) -> int:
        """Bytes on disk; files that several environments share by hard links count in each."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())


def interpreter(recipe: Environment | None, engine: str) -> str | None:
    """The interpreter of an environment; None for this one. Nothing is made.

    Raises:
        EngineMissingError: It is not installed.
    """
    if recipe is None:
        return None
    if os.sep in recipe.python and not recipe.requires:
        if not Path(recipe.python).is_file():
            raise EngineMissingError(f"there is no Python at {recipe.python}")
        return recipe.python  # an environment of the user's own, as it is
    found = find(recipe)
    if found is None:
        raise EngineMissingError(
            f'the environment of the engine "{engine}" is not installed',
            hint=f"mindsql engine install {engine}, on the machine of the database",
        )
    return found.python


def find(recipe: Environment) -> Installed | None:
    """The environment of a recipe, if it is installed: by whichever Python that fits."""
    wanted = _made_of(recipe)
    return next((one for one in installed() if _made_of(one.recipe) == wanted), None)


def installed() -> Iterator[Installed]:
    """The environments that are there."""
    folder = home() / "environments"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        record = path / _RECIPE
        if not path.name.startswith(".") and record.is_file() and _python_of(path).exists():
            said = json.loads(record.read_text(encoding="utf-8"))
            recipe: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in said["recipe"].items()
            }
            yield Installed(path, said["name"], Environment(**recipe), said["version"])


def install(
    recipe: Environment,
    name: str,
    report: Callable[[str], None] = lambda step: None,
    interpreter: str | None = None,
) -> Installed:
    """Make the environment of a recipe, unless it is there.

    Args:
        recipe: What it is made of.
        name: What for, to be listed.
        report: Is told each step.
        interpreter: The Python to make it with; one that fits is looked for when not given.

    Raises:
        EngineMissingError: No Python fits.
        EngineError: A package cannot be installed.
    """
    there = find(recipe)
    if there is not None:
        return there
    report("looking for a Python")
    python, version = _find_python(interpreter or recipe.python)
    folder = home() / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-{_key(recipe, version)}"
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        report(f"making an environment with Python {version}")
        uv = shutil.which("uv")
        if uv is not None:
            _run([uv, "venv", "--quiet", "--allow-existing", "--python", python, str(made)])
        else:
            _run([python, "-m", "venv", str(made)])
        report(f"installing {', '.join(recipe.requires) or 'pyarrow'}")
        _install(uv, made, recipe)
        report("writing down what was installed")
        own = str(_python_of(made))
        freeze = [uv, "pip", "freeze", "--python", own] if uv is not None else [own, "-m", "pip", "freeze"]
        (made / _LOCK).write_text(_run(freeze), encoding="utf-8")
        record = {"name": name, "version": version, "recipe": asdict(recipe)}
        (made / _RECIPE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        try:
            made.rename(target)
        except OSError:  # another process made the same meanwhile
            if not (target / _RECIPE).is_file():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Installed(target, name, recipe, version)


def remove(one: Installed) -> None:
    """Remove an environment; a worker that still runs in it goes on."""
    gone = one.folder.with_name(f".gone-{one.folder.name}")
    one.folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _made_of(recipe: Environment) -> dict[str, Any]:
    """What decides which packages there are."""
    return {key: value for key, value in asdict(recipe).items() if key != "variables"}


def _key(recipe: Environment, version: str) -> str:
    text = json.dumps([_made_of(recipe), version, sys.platform, os.uname().machine if os.name == "posix" else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _install(uv: str | None, folder: Path, recipe: Environment) -> None:
    python = str(_python_of(folder))
    lists: dict[str, Path] = {}
    for kind in ("overrides", "constraints"):
        lines: Sequence[str] = getattr(recipe, kind)
        if lines:
            lists[kind] = folder / f"{kind}.txt"
            lists[kind].write_text("\n".join(lines) + "\n", encoding="utf-8")
    wanted = [*_ALWAYS, *recipe.requires]
    constraints = ["--constraint", str(lists["constraints"])] if "constraints" in lists else []
    if uv is not None:
        overrides = ["--override", str(lists["overrides"])] if "overrides" in lists else []
        index = ["--index", recipe.index] if recipe.index else []
        command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        _run([*command, *overrides, *constraints, *index, *wanted])
        return
    index = ["--extra-index-url", recipe.index] if recipe.index else []
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *index]
    _run([*command, *constraints, *wanted])
    if recipe.overrides:  # pip knows no overrides: they replace what it has chosen
        _run([*command, "--no-deps", *recipe.overrides])


def _run(command: Sequence[str]) -> str:
    """Run a program, for as long as the statement is not stopped. Raises Cancelled, EngineError with the last that it
    said."""
    statement = context()
    statement.polls = True
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                try:
                    stdout, stderr = process.communicate(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if statement.stopped():
                        raise Cancelled("the statement was stopped") from None
        finally:
            process.kill()
    if process.returncode:
        said = [line.strip() for line in (stderr or stdout).splitlines() if line.strip()]
        raise EngineError(
            f"{Path(command[0]).name} could not make the environment (status {process.returncode})",
            hint=" ".join(said[-6:])[:600] or None,
        )
    return stdout


def _find_python(wanted: str) -> tuple[str, str]:
    """An interpreter, by its path or by a specifier of versions, and its version. Raises EngineMissingError."""
    if os.sep in wanted:
        version = _version_of(wanted)
        if version is None:
            raise EngineMissingError(f"{wanted} is no Python that runs")
        return wanted, version
    seen = []
    for candidate in _candidates():
        version = _version_of(candidate)
        if version is None:
            continue
        if version not in seen:
            seen.append(version)
        if _fits(version, wanted):
            return candidate, version
    raise EngineMissingError(
        f"no Python {wanted or '>=3.10'} was found on this machine",
        hint=f"found: {', '.join(seen) or 'none'}; 3.10 is the oldest that will do; install one, or name it: "
        "USING python = '/path/to/python3'",
    )


def _candidates() -> Iterator[str]:
    yield getattr(sys, "_base_executable", None) or sys.executable
    for minor in range(14, _OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            yield found
    # A shim of pyenv runs only while its version is the active one.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from map(str, sorted(pyenv.glob("3.*/bin/python3"), reverse=True))


def _version_of(python: str) -> str | None:
    """`3.12.1`, or None when it does not run."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", "import sys; print('.'.join(map(str, sys.version_info[:3])))"],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _fits(version: str, wanted: str) -> bool:
    """Whether a version fits `3.12`, `>=3.12` or `>=3.10,<3.13`."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        return False
    text = f"=={wanted}.*" if re.fullmatch(r"3\.\d+", wanted) else f"=={wanted}" if wanted[:1].isdigit() else wanted
    try:
        return SpecifierSet(text).contains(version)
    except InvalidSpecifier:
        raise EngineError(f'python = "{wanted}" is no version', hint="write it as '3.12' or '>=3.12'") from None

