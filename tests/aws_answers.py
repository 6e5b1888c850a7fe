"""A server that answers as AWS documents, for the calls that moto lacks: Reserved Instances, Savings Plans, prices,
placement scores. It gives pages, and refuses what it is told to refuse."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3

from lambdas.spot.amazon import Clients, connect

REGION = "eu-west-1"
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


@dataclass
class Answers:
    """What is answered, and what was asked.

    Attributes:
        lists: the elements of an operation's answer, given in pages of `page`.
        refused: the error code of an operation.
        asked: operation and parameters of each call.
    """

    lists: dict[str, list[Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    page: int = 2
    clients: Clients = field(init=False)

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.asked)

    def slice(self, operation: str, token: str | None) -> tuple[list[Any], str | None]:
        """A page, and what the next is asked with."""
        found, start = self.lists.get(operation, []), int(token or 0)
        end = start + self.page
        return found[start:end], str(end) if end < len(found) else None


@contextmanager
def answering() -> Iterator[Answers]:
    answers = Answers()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answers))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    session = boto3.session.Session("x", "x", region_name=REGION)
    answers.clients = connect(session, endpoint=f"http://127.0.0.1:{server.server_port}")
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answers: Answers) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one short method for each protocol
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if target := self.headers.get("X-Amz-Target"):
                self._price_list(target.partition(".")[2], json.loads(body))
            elif self.path != "/":
                self._savings_plans(self.path.strip("/"), json.loads(body))
            else:
                self._ec2({name: values[0] for name, values in parse_qs(body.decode()).items()})

        def _price_list(self, operation: str, asked: dict[str, Any]) -> None:
            answers.asked.append((operation, asked))
            if code := answers.refused.get(operation):
                return self._send(400, json.dumps({"__type": code, "message": "refused"}), "application/x-amz-json-1.1")
            found, after = answers.slice(operation, asked.get("NextToken"))
            answer = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(one) for one in found]}
            return self._send(200, json.dumps(answer | ({"NextToken": after} if after else {})))

        def _savings_plans(self, operation: str, asked: dict[str, Any]) -> None:
            answers.asked.append((operation, asked))
            if code := answers.refused.get(operation):
                return self._send(400, json.dumps({"message": "refused"}), error=code)
            found, after = answers.slice(operation, asked.get("nextToken"))
            name = "savingsPlans" if operation == "DescribeSavingsPlans" else "searchResults"
            return self._send(200, json.dumps({name: found} | ({"nextToken": after} if after else {})))

        def _ec2(self, asked: dict[str, str]) -> None:
            operation = asked["Action"]
            answers.asked.append((operation, asked))
            if code := answers.refused.get(operation):
                wrong = f"<Errors><Error><Code>{code}</Code><Message>refused</Message></Error></Errors>"
                return self._send(400, f"<Response>{wrong}<RequestID>1</RequestID></Response>", "text/xml")
            paged = operation == "GetSpotPlacementScores"
            found, after = answers.slice(operation, asked.get("NextToken"))
            if not paged:
                found, after = answers.lists.get(operation, []), None
            name = {
                "DescribeReservedInstances": "reservedInstancesSet",
                "GetSpotPlacementScores": "spotPlacementScoreSet",
                "DescribeAvailabilityZones": "availabilityZoneInfo",
                "DescribeInstances": "reservationSet",
                "DescribeSpotPriceHistory": "spotPriceHistorySet",
            }[operation]
            token = f"<nextToken>{after}</nextToken>" if after else ""
            items = "".join(f"<item>{_xml(one)}</item>" for one in found)
            root = f'{operation}Response xmlns="{NAMESPACE}"'
            return self._send(200, f"<{root}><{name}>{items}</{name}>{token}</{operation}Response>", "text/xml")

        def _send(self, status: int, body: str, kind: str = "application/json", error: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            if error:
                self.send_header("x-amzn-ErrorType", error)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(one)}</{name}>" for name, one in value.items())
    if isinstance(value, list):
        return "".join(f"<item>{_xml(one)}</item>" for one in value)
    return escape(str(value))


def product(instance_type: str, per_hour: str, operation: str = "RunInstances", **attributes: str) -> dict[str, Any]:
    """A product as GetProducts has it, of the parts that are read and some that are not."""
    return {
        "product": {
            "productFamily": "Compute Instance",
            "attributes": {
                "regionCode": REGION,
                "instanceType": instance_type,
                "operation": operation,
                "tenancy": "Shared",
                "capacitystatus": "Used",
                "marketoption": "OnDemand",
                **attributes,
            },
            "sku": "ABC",
        },
        "serviceCode": "AmazonEC2",
        "terms": {
            "OnDemand": {
                "ABC.JRTCKXETXF": {
                    "priceDimensions": {
                        "ABC.JRTCKXETXF.6YS6EN2CT7": {"unit": "Hrs", "pricePerUnit": {"USD": per_hour}}
                    },
                    "sku": "ABC",
                    "offerTermCode": "JRTCKXETXF",
                }
            },
            "Reserved": {},
        },
    }


def rate(instance_type: str, per_hour: str, **told: str) -> dict[str, Any]:
    """A rate as DescribeSavingsPlanRates has it."""
    properties = {
        "region": REGION,
        "instanceType": instance_type,
        "productDescription": told.get("platform", "Linux/UNIX"),
        "tenancy": told.get("tenancy", "shared"),
    }
    return {
        "rate": per_hour,
        "currency": "USD",
        "unit": "Hrs",
        "productType": "EC2",
        "serviceCode": "AmazonEC2",
        "usageType": f"EUW1-{told.get('usage', 'BoxUsage')}:{instance_type}",
        "operation": "RunInstances",
        "properties": [{"name": name, "value": value} for name, value in properties.items()],
    }


def plan(plan_id: str, commitment: str, kind: str = "Compute", **more: str) -> dict[str, Any]:
    """A plan as DescribeSavingsPlans has it."""
    return {
        "savingsPlanId": plan_id,
        "savingsPlanArn": f"arn:aws:savingsplans::123456789012:savingsplan/{plan_id}",
        "savingsPlanType": kind,
        "state": "active",
        "commitment": commitment,
        "currency": "USD",
        "productTypes": ["EC2"],
        **more,
    }
