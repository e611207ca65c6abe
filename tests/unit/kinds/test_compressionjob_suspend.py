from kind_stories import DIGEST, READY, Story, claim, ended, publication
from modelyard.api.workloads import Job
from modelyard.kinds.compressionjob import KIND
from modelyard.kinds.compressionjob.model import IMMUTABLE, CompressionJob, CompressionJobSpec

JOB = "int8-compress"
SPEC = f"""
source: {{artifact: {{uri: "pvc://models/a", digest: "{DIGEST}"}}}}
output: {{uri: "pvc://models/int8"}}
"""


def running() -> Story[CompressionJob]:
    story = Story(KIND, SPEC, claim("models"), name="int8")
    story.visit()
    story.run(story.child(Job, JOB), READY)
    story.visit(1)
    return story


def seen(story: Story[CompressionJob]) -> tuple[str, list[str]]:
    return story.resource.status.state, story.names()


def test_a_suspended_job_gives_up_its_pod_and_goes_on_when_that_is_gone() -> None:
    story = running()
    run_file = "ConfigMap int8-compress-run"
    story.edit("{suspend: true}")
    story.visit(1)
    found = [seen(story)]
    story.pods = []
    story.visit(1)
    found.append(seen(story))
    assert story.conditions() == {
        "Accepted": "True Valid",
        "Running": "False Suspended",
        "Suspended": "True Suspended",
    }
    story.edit("{suspend: false}")
    story.visit(60)
    found.append(seen(story))
    assert found == [
        ("Suspending", [run_file]),
        ("Suspended", [run_file]),
        ("Starting", [run_file, f"Job {JOB}"]),
    ]
    assert story.conditions()["Suspended"] == "False Resumed"


def test_a_job_that_is_resumed_before_its_pod_is_gone_waits_for_that() -> None:
    story = running()
    story.edit("{suspend: true}")
    story.visit(1)
    story.edit("{suspend: false}")
    story.visit(1)
    assert seen(story) == ("Suspending", ["ConfigMap int8-compress-run"])
    story.pods = []
    story.visit(1)
    assert seen(story) == ("Starting", ["ConfigMap int8-compress-run", f"Job {JOB}"])


def test_a_job_that_is_made_suspended_has_no_pod() -> None:
    story = Story(KIND, f"{SPEC}\nsuspend: true", claim("models"), name="int8")
    story.visit()
    assert seen(story) == ("Suspended", [])
    assert "Reconciling" not in story.conditions()


def test_a_job_that_had_its_result_when_it_was_suspended_keeps_it() -> None:
    story = running()
    story.run(story.child(Job, JOB), ended(publication()))
    story.job_says(JOB, "Complete")
    story.edit("{suspend: true}")
    story.visit(1)
    assert seen(story)[0] == "Complete"


def test_the_run_file_does_not_know_whether_the_job_is_suspended() -> None:
    story = running()
    before = story.objects
    story.edit("{suspend: true}")
    story.visit(1)
    assert all(before[key] == child for key, child in story.objects.items())


def test_nothing_but_suspend_can_be_changed() -> None:
    assert set(CompressionJobSpec.model_fields) - set(IMMUTABLE) == {"suspend"}
    story = running()
    old = story.resource.spec
    story.edit("{suspend: true}")
    assert story.resource.spec.transition_errors(old) == []
