"""The small open models that serve.sh serves on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from orchestratex.domain.profile import Profile, RateLimits


@dataclass(frozen=True)
class SmallModel:
    """One model, its size and its server's port."""

    name: str
    label: str
    port: int

    @property
    def is_served(self) -> bool:
        """Whether its server answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False

    def profile(self, *, with_schema: bool) -> Profile:
        """What an operator would write about it."""
        now = datetime(2025, 1, 1, tzinfo=UTC)
        return Profile(
            model_name=self.name,
            provider="llama.cpp",
            model_version=self.name,
            specialties=["coding", "creative", "math", "translation", "analysis", "reasoning"],
            supported_languages=["en"],
            max_context_length=8192,
            strengths="",
            weaknesses="",
            best_use_cases=[],
            api_endpoint=f"http://127.0.0.1:{self.port}/v1",
            api_key_required=False,
            cost_per_input_token=0,
            cost_per_output_token=0,
            rate_limits=RateLimits(requests_per_minute=10_000, tokens_per_minute=100_000_000),
            max_output_tokens=1024,
            supports_json_schema=with_schema,
            created_at=now,
            updated_at=now,
        )


SMALL: Final = SmallModel("smollm2-135m", "SmolLM2 135M", 8181)
LARGE: Final = SmallModel("qwen-1.5b", "Qwen2.5-Coder 1.5B", 8182)
MIDDLE: Final = SmallModel("qwen-0.5b", "Qwen2.5-Coder 0.5B", 8183)
MODELS: Final = (SMALL, MIDDLE, LARGE)
