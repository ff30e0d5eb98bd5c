"""Writing files atomically (:mod:`prejudge.formats.atomic`), as the modules around the cache know it."""

from prejudge.formats.atomic import BINARY, beside, cannot_write, replacing, sync_folder, write_atomically

__all__ = ["BINARY", "beside", "cannot_write", "replacing", "sync_folder", "write_atomically"]
