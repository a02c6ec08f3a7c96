"""A reproducible stream of payments, logins, card events, alerts and KYC profiles, honest and fraudulent.

Plain Python: nothing here knows Django, a database or the rules that are to find the frauds.
"""

from ingestion.simulator.config import SimulatorConfig, SimulatorConfigError
from ingestion.simulator.events import PAYLOAD_FIELDS, EventLabel, SimulatedEvent
from ingestion.simulator.stream import Simulation
from ingestion.simulator.world import Instance

__all__ = [
    "PAYLOAD_FIELDS",
    "EventLabel",
    "Instance",
    "SimulatedEvent",
    "Simulation",
    "SimulatorConfig",
    "SimulatorConfigError",
]
