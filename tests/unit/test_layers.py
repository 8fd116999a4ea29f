"""The layers of the architecture page hold: ``lint-imports`` finds no import that points outwards."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_import_points_outwards(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-logo", "--cache-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_beat_schedule_is_data() -> None:
    """It may know the catalogue, the settings and Celery's schedules, and nothing that does work."""
    tree = ast.parse((ROOT / "beat_schedule.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"softman.tasks.catalogue", "softman.settings", "softman.tasks", "celery.schedules"}
    assert {name for name in imported if name and name.startswith(("softman", "workers", "celery"))} <= allowed
