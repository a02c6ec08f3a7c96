"""The oracle: a naive, exact evaluator of the rule language, and generators of rules and histories.

Nothing here imports `rules.core` or an evaluator of the product: it was written from the text of the language
alone (docs/rule-language.md), so that an agreement of both means something. Only `run` brings the two together.
"""
