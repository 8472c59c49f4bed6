"""The shim follows a file that the agent keeps beside its output."""

from pathlib import Path

from tests.runners.shim.attempt import Attempt, wait_for


def test_lines_that_the_agent_adds_are_told_and_what_was_there_before_is_not(attempt: Attempt, tmp_path: Path) -> None:
    log = tmp_path / "talk.jsonl"
    log.write_text("history\n")
    script = f"echo new >> {log}; sleep 0.6; printf 'the last, without an end' >> {log}"
    attempt.shell(script, follow={"pattern": str(log)})
    attempt.exit()
    assert attempt.lines("log") == ["new", "the last, without an end"]


def test_lines_are_told_while_the_agent_runs(attempt: Attempt, tmp_path: Path) -> None:
    log = tmp_path / "talk.jsonl"
    attempt.shell(f"echo early > {log}; sleep 60", follow={"pattern": str(tmp_path / "*.jsonl")})
    wait_for(lambda: attempt.lines("log") == ["early"], "the line of the file", seconds=30)
    attempt.stop(0)


def test_a_file_whose_name_the_agent_tells_is_found(attempt: Attempt, tmp_path: Path) -> None:
    follow = {"pattern": f"{tmp_path}/*/talk-{{conversation}}.jsonl", "announced_by": '"thread":"'}
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "talk-other.jsonl").write_text("somebody else's\n")
    attempt.shell(f"""echo mine > {tmp_path}/day/talk-a-1.jsonl; echo '{{"thread":"a-1"}}'; sleep 0.5""", follow=follow)
    attempt.exit()
    assert attempt.lines("log") == ["mine"]


def test_an_id_cannot_lead_to_another_directory(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text("secret\n")
    (tmp_path / "talks").mkdir()
    follow = {"pattern": f"{tmp_path}/talks/{{conversation}}.jsonl", "announced_by": '"thread":"'}
    attempt.shell("""echo '{"thread":"../secret"}'; echo '{"thread":"*"}'; sleep 0.3""", follow=follow)
    attempt.exit()
    assert attempt.lines("log") == []


def test_only_lines_with_a_wanted_word_are_told(attempt: Attempt, tmp_path: Path) -> None:
    log = tmp_path / "talk.jsonl"
    follow = {"pattern": str(log), "containing": ["tokens", "model"]}
    attempt.shell(f"printf 'noise\\nmodel x\\nmore noise\\ntokens 5\\n' > {log}", follow=follow)
    attempt.exit()
    assert attempt.lines("log") == ["model x", "tokens 5"]


def test_a_file_that_begins_anew_is_read_from_its_beginning(attempt: Attempt, tmp_path: Path) -> None:
    log = tmp_path / "talk.jsonl"
    script = f"echo a long first line > {log}; sleep 0.8; echo short > {log}; sleep 0.8; echo next >> {log}"
    attempt.shell(script, follow={"pattern": str(log)})
    attempt.exit()
    assert attempt.lines("log") == ["a long first line", "short", "next"]


def test_an_agent_without_a_file_to_follow_is_none_the_worse(attempt: Attempt, tmp_path: Path) -> None:
    record = attempt.shell("echo out", follow={"pattern": f"{tmp_path}/none/*.jsonl"}).exit()
    assert record["code"] == 0
    assert attempt.lines() == ["out"]
