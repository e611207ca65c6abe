"""Wait until a TrainingJob has ended. Arguments: its namespace and name. Exit code 0: it is complete."""

import asyncio
import sys

from modelyard.clusters.kube.client import KubeClient

POLL_SECONDS = 1.0
GOOD, BAD = "Complete", "Stalled"


async def main(namespace: str, name: str) -> None:
    path = f"/apis/modelyard.dev/v1alpha1/namespaces/{namespace}/trainingjobs/{name}"
    said, ended = "", set[str]()
    async with await KubeClient.from_environment() as client:
        while not ended:
            job = await client.request("GET", path)
            status = job["status"]
            assert isinstance(status, dict)
            line = f"{status['state']}: {status['message']}"
            if line != said:
                print(line, flush=True)
            said, ended = line, _true(status.get("conditions")) & {GOOD, BAD}
            await asyncio.sleep(POLL_SECONDS)
    sys.exit(0 if ended == {GOOD} else 1)


def _true(conditions: object) -> set[str]:
    found = conditions if isinstance(conditions, list) else []
    return {each["type"] for each in found if each["status"] == "True"}


asyncio.run(main(*sys.argv[1:]))
