"""Conversations for tests: rows of messages as backends write them."""

from datetime import datetime, timedelta
from typing import Any

from runners.models import Message, Runner, Session
from runners.states import Role


class Talk:
    """Writes the messages of one runner's session, a second apart."""

    def __init__(self, runner: Runner, *, step: timedelta = timedelta(seconds=1)) -> None:
        assert runner.session is not None
        self.runner, self.session, self.step = runner, runner.session, step
        self.at: datetime = runner.created_at
        self.count = 0

    def say(self, text: str = "", role: Role = Role.ASSISTANT, **fields: Any) -> Message:
        self.count += 1
        self.at += self.step
        message = Message.objects.create(
            session=self.session,
            runner=self.runner,
            **{"key": f"k{self.count}", "role": role, "text": text, "at": self.at, **fields},
        )
        Session.objects.filter(pk=self.session.pk).update(message_count=self.count, last_message_at=self.at)
        return message

    def ask(self, text: str) -> Message:
        return self.say(text, Role.USER)

    def call(self, tool: str, given: Any, call_id: str = "", **fields: Any) -> Message:
        return self.say(tool_name=tool, tool_input=given, call_id=call_id, **fields)

    def result(self, tool: str, text: str, call_id: str = "", **fields: Any) -> Message:
        return self.say(text, Role.TOOL, tool_name=tool, call_id=call_id, **fields)

    def use(self, tool: str, given: Any, text: str, **fields: Any) -> Message:
        """Call a tool and have its result."""
        call = self.call(tool, given, f"call-{self.count}")
        self.result(tool, text, call.call_id, **fields)
        return call

    def much(self, messages: int) -> None:
        """Say that many things at once."""
        many = [
            Message(
                session=self.session, runner=self.runner, key=f"many-{number}", role=Role.ASSISTANT,
                text=f"Saying number {number}.", at=self.at + self.step * number, is_error=number % 1_000 == 0,
            )
            for number in range(1, messages + 1)
        ]  # fmt: skip
        Message.objects.bulk_create(many)
        self.count += messages
        self.at = many[-1].at
        Session.objects.filter(pk=self.session.pk).update(message_count=self.count, last_message_at=self.at)
