"""Recorded change streams: files and directories in any form AWS leaves them in, read without holding them."""
