"""CernVM-FS repositories, read and written without FUSE, root rights or the official tools.

A library of its own: it imports nothing else of softman and has its own error root, ``CvmfsError``. ``format`` is pure
(bytes in, bytes out); beside it live the stores, the verifying reader and the writer.
"""
