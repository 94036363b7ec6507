"""A server on loopback that speaks as LLM providers do, and goes wrong on demand."""

from pgkd.testing.fault_server.faults import Fault
from pgkd.testing.fault_server.server import FaultServer
from pgkd.testing.fault_server.wire import ReceivedRequest

__all__ = ["Fault", "FaultServer", "ReceivedRequest"]
