"""The catalogue: every fault of the storm."""

from tests.browser_storm.browser_faults import BROWSER_FAULTS
from tests.browser_storm.house_faults import HOUSE_FAULTS
from tests.browser_storm.site_faults import SITE_FAULTS

ALL_FAULTS = SITE_FAULTS + BROWSER_FAULTS + HOUSE_FAULTS
