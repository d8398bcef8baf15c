"""The catalogue: every fault of the storm."""

from tests.soak.storm.browser_faults import BROWSER_FAULTS
from tests.soak.storm.process_faults import HOUSE_FAULTS
from tests.soak.storm.site_faults import SITE_FAULTS

ALL_FAULTS = SITE_FAULTS + BROWSER_FAULTS + HOUSE_FAULTS
