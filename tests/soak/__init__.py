"""Agents killed at every moment, and disks that fill: in the end all is as it would have been."""
