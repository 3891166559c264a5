from __future__ import annotations

import re

from tests.audit.engine import Document, is_close, rule
from tests.audit.records import Records, is_answer, is_sent, mean

PROFILES = "ai_model_profiles"


def _calls(profile: Document, records: Records) -> list[Document]:
    return [each for each in records.responses.values() if each["model_name"] == profile["model_name"]]


@rule(PROFILES)
def its_name_is_a_model_name(profile: Document, _records: Records) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", profile["model_name"]) is not None


@rule(PROFILES)
def its_name_is_its_own(profile: Document, records: Records) -> bool:
    return sum(each["model_name"] == profile["model_name"] for each in records.documents[PROFILES]) == 1


@rule(PROFILES)
def provider_and_version_are_given(profile: Document, _records: Records) -> bool:
    return bool(profile["provider"] and profile["model_version"])


@rule(PROFILES)
def its_limits_allow_something(profile: Document, _records: Records) -> bool:
    limits = [limit for limit in profile["rate_limits"].values() if limit is not None]
    return min(profile["max_context_length"], *limits) >= 1


@rule(PROFILES)
def it_is_updated_after_it_is_created(profile: Document, _records: Records) -> bool:
    return profile["updated_at"] >= profile["created_at"]


@rule(PROFILES)
def its_uptime_is_the_share_of_probes_passed(profile: Document, _records: Records) -> bool | None:
    if not profile["probes"]:
        return None
    share = 100 * profile["probes_passed"] / profile["probes"]
    return is_close(profile["performance_metrics"]["uptime_percentage"], share)


@rule(PROFILES)
def its_tokens_are_those_of_its_calls(profile: Document, records: Records) -> bool:
    used = [each["tokens_used"]["total_tokens"] for each in _calls(profile, records) if each["tokens_used"]]
    return profile["performance_metrics"]["total_tokens_processed"] == sum(used)


@rule(PROFILES)
def its_requests_are_attempts_that_were_sent(profile: Document, records: Records) -> bool:
    """At least one of each call that was sent; none that was never claimed."""
    calls = [each for each in _calls(profile, records) if is_sent(each)]
    return len(calls) <= profile["performance_metrics"]["total_requests"] <= sum(c["attempt"] for c in calls)


@rule(PROFILES)
def its_success_rate_is_the_share_of_attempts_that_came_back(profile: Document, records: Records) -> bool | None:
    figures = profile["performance_metrics"]
    if not figures["total_requests"]:
        return None
    came_back = sum(each["completion"] is not None for each in _calls(profile, records))
    return is_close(figures["success_rate"], came_back / figures["total_requests"])


@rule(PROFILES)
def its_quality_is_the_mean_score_of_its_answers(profile: Document, records: Records) -> bool | None:
    scored = [each for each in _calls(profile, records) if is_answer(each) and each["selection_score"] is not None]
    if not scored:
        return profile["performance_metrics"]["average_quality_rating"] is None
    first = [each["selection_score"] for each in scored if each["role"] == "primary"]
    wanted = [mean([each["selection_score"] for each in scored])] + ([mean(first)] if first else [])
    return any(is_close(profile["performance_metrics"]["average_quality_rating"] or 0, each) for each in wanted)


@rule(PROFILES)
def its_response_time_is_within_its_calls(profile: Document, records: Records) -> bool | None:
    times = [each["response_time"] for each in _calls(profile, records) if each["status"] == "completed"]
    if not times:
        return None
    return min(times) - 1e-6 <= profile["performance_metrics"]["average_response_time"] <= max(times) + 1e-6
