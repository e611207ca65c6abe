"""The operator's rights against what it did in all the tests before: nothing refused, nothing granted in vain."""

from pathlib import Path

import httpx
import pytest

from installed import Kubectl, place
from operators import others, sources, surplus, training
from releases import RIGHTS, granted, used
from waiting import until


@pytest.mark.last
def test_every_right_is_used_and_none_is_missing(
    client: httpx.Client, kubectl: Kubectl, audit_log: Path, modelyard: None
) -> None:
    with place(client, kubectl, "rights") as here:
        sources(here.cluster)
        training(here.cluster)
        others(here.cluster)
        until(lambda: any("horizontalpod" in name for name in here.cluster.children()), "the service's autoscaler")
        surplus(here.cluster)
        until(lambda: not any("surplus" in name for name in here.cluster.children()), "what nobody wants is gone")
    done, refused = used(audit_log)
    assert refused == set()
    assert granted(client, *RIGHTS) - done == set()
