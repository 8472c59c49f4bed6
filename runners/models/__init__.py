from runners.models.approval import Approval, ApprovalRule, ApprovalTerms
from runners.models.budget import Budget, BudgetPeriod, BudgetRaise
from runners.models.chunk import MessageChunk
from runners.models.embedding import ChunkVector, EmbeddingModel, WaitingChunk
from runners.models.limit import ProviderLimit
from runners.models.node import Node
from runners.models.operation import Operation, OperationItem
from runners.models.price import ModelPrice
from runners.models.project import Project, ResourceQuota
from runners.models.reconciler import ReconcilerFinding, ReconcilerRound
from runners.models.redaction import Redaction, RedactionRule
from runners.models.runner import Attempt, Observation, Runner, RunnerMove
from runners.models.session import Message, Session
from runners.models.transcript import Transcript, TranscriptPart
from runners.models.usage import UsageEntry
from runners.models.versions import BudgetVersion, ProjectVersion, QuotaVersion
from runners.models.worktree import Changes, Worktree

__all__ = [
    "Approval",
    "ApprovalRule",
    "ApprovalTerms",
    "Attempt",
    "Budget",
    "BudgetPeriod",
    "BudgetRaise",
    "BudgetVersion",
    "Changes",
    "ChunkVector",
    "EmbeddingModel",
    "Message",
    "MessageChunk",
    "ModelPrice",
    "Node",
    "Observation",
    "Operation",
    "OperationItem",
    "Project",
    "ProjectVersion",
    "ProviderLimit",
    "QuotaVersion",
    "ReconcilerFinding",
    "ReconcilerRound",
    "Redaction",
    "RedactionRule",
    "ResourceQuota",
    "Runner",
    "RunnerMove",
    "Session",
    "Transcript",
    "TranscriptPart",
    "UsageEntry",
    "WaitingChunk",
    "Worktree",
]
