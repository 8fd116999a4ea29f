"""The CVMFS format, pure: bytes in, values out, and back. No files, no network, no clock."""
