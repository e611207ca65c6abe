"""A training on a real node, whose pods' processes and volumes are this machine's."""

from pathlib import Path

from installed import Place
from stages import NAME, Object, Stage


class NodeStage(Stage):
    """The job in a namespace of the test's own."""

    deadline = 300.0

    def __init__(self, place: Place) -> None:
        self.place = place
        self._volume: Path | None = None

    def apply(self, *objects: Object) -> None:
        self.place.apply(*objects)

    def job(self) -> Object:
        found = self.place.cluster.get("trainingjobs", NAME)
        assert found is not None
        return found

    def pods(self, attempt: int) -> list[Object]:
        selector = f"modelyard.dev/name={NAME},modelyard.dev/attempt={attempt}"
        answer = self.place.cluster.client.get(self.place.cluster.path("pods"), params={"labelSelector": selector})
        found: list[Object] = answer.raise_for_status().json()["items"]
        return sorted(found, key=_index)

    def lose_pod(self, attempt: int, index: int) -> None:
        """``kubectl delete pod``, without a word to anybody."""
        self.place.kubectl("delete", "pod", self.name(attempt, index), "--wait=false")

    def name(self, attempt: int, index: int) -> str:
        """The newest pod of an index."""
        found = [pod for pod in self.pods(attempt) if _index(pod) == index]
        name: str = max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))["metadata"]["name"]
        return name

    def log(self, attempt: int, index: int) -> str:
        return self.place.kubectl("logs", self.name(attempt, index), "--ignore-errors", "--tail", "200")

    def volume(self) -> Path:
        if self._volume is None:
            self._volume = folder_of_claim(self.place, "models")
        return self._volume or Path("/nonexistent")


def folder_of_claim(here: Place, name: str) -> Path | None:
    """Where the volume of a claim lies on this machine, once it has one."""
    claim = here.cluster.get("persistentvolumeclaims", name)
    volume = (claim or {}).get("spec", {}).get("volumeName")
    if not volume:
        return None
    answer = here.cluster.client.get(f"/api/v1/persistentvolumes/{volume}").raise_for_status()
    return Path(answer.json()["spec"]["hostPath"]["path"])


def _index(pod: Object) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
