"""Fakes and conformance checks, for pgkd's own tests and for components written elsewhere."""

from pgkd.testing.checks import check_sampler, check_student, check_teacher
from pgkd.testing.fault_server import Fault, FaultServer
from pgkd.testing.teachers import PoolTeacher, ScriptedTeacher

__all__ = [
    "Fault",
    "FaultServer",
    "PoolTeacher",
    "ScriptedTeacher",
    "check_sampler",
    "check_student",
    "check_teacher",
]
