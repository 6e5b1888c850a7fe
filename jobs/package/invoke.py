"""What runs in a package of lambdas: calls each handler once, and prints a line of JSON for it. Knows nothing else.

Arguments: the folder of the package, and the names of the modules. Of a message that is no message a handler of a queue
gives back the id; one that runs on a schedule ends at its first call to AWS, which is denied here.
"""

import importlib
import json
import sys
import time
import traceback

folder, *names = sys.argv[1:]
sys.path.insert(0, folder)

EVENT = {
    "Records": [
        {
            "messageId": "check",
            "receiptHandle": "none",
            "body": "no message",
            "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": "check"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:check.fifo",
            "awsRegion": "eu-west-1",
        }
    ]
}


class Context:
    """As much of Lambda's context as a handler may look at."""

    function_name = "check"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    aws_request_id = "00000000-0000-0000-0000-000000000000"
    log_group_name = log_stream_name = "check"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:check"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """The time of the longest function."""
        return 300_000


for name in names:
    began_s = time.monotonic()
    told: dict[str, object] = {"handler": name}
    try:
        told["answer"] = importlib.import_module(name).handler(EVENT, Context())
    except Exception as error:  # whatever it is, the check tells it
        told["error"] = f"{type(error).__name__}: {error}"
        told["traceback"] = traceback.format_exc()
    told["seconds"] = round(time.monotonic() - began_s, 1)
    print(json.dumps(told), flush=True)  # noqa: T201 - read by whoever started this
