"""A vLLM made of links into another, with some files of its own."""

from pathlib import Path


def overlay(source: Path, made: Path, files: dict[str, str | Path]) -> Path:
    """Makes `made/vllm`, which is `source/vllm` but for `files`: a text, or another's file."""
    package = made / "vllm"
    package.mkdir(parents=True, exist_ok=True)
    links = {part.name: part for part in (source / "vllm").iterdir() if part.name != "__pycache__"}
    for name, content in (links | files).items():
        (package / name).unlink(missing_ok=True)
        if isinstance(content, str):
            (package / name).write_text(content)
        else:
            (package / name).symlink_to(content)
    return made
