"""Program and plan -> C: `emit` gives the files, `write_folder` puts them on disk all at once."""

from dfqgen.emit.package import emit, with_files, write_folder

__all__ = ["emit", "with_files", "write_folder"]
