"""Recordings as every job reads them: lanes of segments, decoded chunk by chunk, and what is reported of each chunk."""
