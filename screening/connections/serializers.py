"""Shapes of connections and of a customer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from ingestion.events.serializers import KycSerializer


class ConnectedAccountSerializer(serializers.Serializer[Any]):
    account_id = serializers.CharField()
    hops = serializers.IntegerField(min_value=0)


class SharedSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField([("device", "device"), ("address", "address")])
    value = serializers.CharField()
    is_hub = serializers.BooleanField(help_text="shared by too many to follow, e.g. a public address")
    account_count = serializers.IntegerField()
    accounts = serializers.ListField(child=serializers.CharField())


class PaymentsSerializer(serializers.Serializer[Any]):
    to = serializers.CharField()
    count = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of Python's.
        return {"from": serializers.CharField(), **super().get_fields()}


class ConnectionsSerializer(serializers.Serializer[Any]):
    hops = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    accounts = ConnectedAccountSerializer(many=True)
    shared = SharedSerializer(many=True)
    payments = PaymentsSerializer(many=True)
    is_truncated = serializers.BooleanField(help_text="a bound was met; there may be more")


class AccountConnectionsSerializer(ConnectionsSerializer):
    account_id = serializers.CharField()


class DeviceConnectionsSerializer(ConnectionsSerializer):
    device_id = serializers.CharField()


class ProfileSerializer(KycSerializer):
    age_days = serializers.IntegerField(allow_null=True)


class DeviceSerializer(serializers.Serializer[Any]):
    device_id = serializers.CharField()
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    transactions = serializers.IntegerField()
    logins = serializers.IntegerField(help_text="successful ones")


class CustomerAccountSerializer(serializers.Serializer[Any]):
    account_id = serializers.CharField()
    risk_score = serializers.FloatField()
    tier = serializers.CharField()


class CustomerSerializer(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    at = serializers.DateTimeField()
    kyc = ProfileSerializer(allow_null=True, help_text="the profile in force; null: none was sent")
    kyc_history = KycSerializer(many=True, help_text="newest first, at most 100")
    known_devices = DeviceSerializer(many=True)
    accounts = CustomerAccountSerializer(many=True)
    open_cases = serializers.ListField(child=serializers.UUIDField())
