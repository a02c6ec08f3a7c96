from django.apps import AppConfig


class ScreeningConfig(AppConfig):
    name = "screening"

    def ready(self) -> None:
        from rules.ruleset import call_after_publish
        from screening.counting import ruleset_announce

        call_after_publish(ruleset_announce)
