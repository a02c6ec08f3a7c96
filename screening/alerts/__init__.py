"""Alerts: one work item for one rule's finding."""
