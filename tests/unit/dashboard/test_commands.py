"""Commands for other programs: secrets in none of them, and each is shell or Python."""

import subprocess

import pytest

from softman.dashboard.upload.commands import ACCESS_KEY, SECRET_KEY, Recipe, recipes

RECIPES = recipes("alice", "https://s3.example.org:8443", "eu-1")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: each.key)
def test_commands_are_whole(recipe: Recipe) -> None:
    assert (
        "https://s3.example.org:8443" in recipe.setup + recipe.upload
        or "host_base = s3.example.org:8443" in recipe.setup
    )
    assert "eu-1" in recipe.setup + recipe.upload
    assert ACCESS_KEY in recipe.setup + recipe.upload
    assert SECRET_KEY in recipe.setup + recipe.upload
    assert "alice" in recipe.upload
    scripts = [recipe.setup] if recipe.key == "boto3" else [recipe.setup, recipe.upload]
    for script in scripts:
        subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
    if recipe.key == "boto3":
        compile(recipe.upload, "upload.py", "exec")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: each.key)
def test_secrets_are_given_once(recipe: Recipe) -> None:
    """What is repeated all the time has none: it is in the history of shells and in lists of processes."""
    assert recipe.key == "boto3" or SECRET_KEY not in recipe.upload
