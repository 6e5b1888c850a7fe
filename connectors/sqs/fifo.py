"""What SQS allows as names of message groups. Pure."""

import hashlib
import re
from typing import Final

# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_GROUP_ID: Final = re.compile(r"""[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}""")


def group_id(key: str) -> str:
    """The message group of a key: the key itself, or its hash where SQS would refuse the key."""
    if _GROUP_ID.fullmatch(key):
        return key
    # A key may be such a hash itself; the two would share a group, which costs a little time and nothing else.
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
