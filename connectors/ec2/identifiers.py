"""What identifies an instance and the place where it runs. Pure."""

import re
from typing import Final

INSTANCE_ID: Final = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
"""Eight digits before 2016, seventeen since. Source: EC2 User Guide, resource-ids."""

ACCOUNT: Final = re.compile(r"[0-9]{12}")
REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
SPOT_REQUEST_ID: Final = re.compile(r"sir-[0-9A-Za-z]{8,17}")
INSTANCE_TYPE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}\.[a-z0-9-]{1,31}")

ZONE: Final = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,12}){2,6}")
"""The name of an Availability Zone, a Local Zone or a Wavelength Zone."""
