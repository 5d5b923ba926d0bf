"""The built wheel installs into an empty environment, can be imported, and contains its types and its contract."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        check=True,
        capture_output=True,
        timeout=300,
    )


def test_built_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    # A copy, so that the build leaves no files in the checkout.
    for path in PROJECT.rglob("*"):
        relative = path.relative_to(PROJECT)
        if (
            path.is_file()
            and relative.parts[0] in ("src", "pyproject.toml", "README.md")
            and path.suffix != ".pyc"
        ):
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            (source / relative).write_bytes(path.read_bytes())
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("jobtrail-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "jobtrail/py.typed" in names
    assert all(name.startswith("jobtrail") for name in names), names

    environment = tmp_path / "empty"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    site = next((environment / "lib").glob("python*/site-packages"))
    pip("install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    # Dependencies come from this environment instead of the network.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = (
        "import jobtrail, pathlib; from jobtrail import _encode\n"
        "print(pathlib.Path(jobtrail.__file__).parent, jobtrail.SCHEMA_SHA256)\n"
        "with jobtrail.job('W'): pass\n"
        "assert jobtrail.stats().accepted == 2\n"
        "jobtrail.shutdown(0)\n"
    )
    done = subprocess.run(
        [python, "-I", "-c", program], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site.resolve())) or done.stdout.startswith(str(site))
