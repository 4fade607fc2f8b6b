"""What `e2i clean` does: removes old data of the state folder, or says what it would remove.

The same happens after each publication. What may go is decided in `domain/retention.py`.
"""

from datetime import UTC, datetime

from e2i_pipeline.config.schema import Settings
from e2i_pipeline.domain.retention import Decision, in_words


def clean_up(chosen: Settings, is_dry_run: bool) -> str:
    """Cleans up, and tells about it.

    Args:
        chosen: The settings.
        is_dry_run: Whether only to say what would be removed; nothing is written then.

    Returns:
        What was removed, and what keeps the rest.

    Raises:
        E2IError: The metadata database does not answer; nothing was removed.
    """
    from e2i_pipeline.defs.resources import build_resources
    from e2i_pipeline.resources.stages.retention import RetentionResource

    resource = build_resources(chosen)["retention"]
    assert isinstance(resource, RetentionResource)  # noqa: S101 - the composition root says so
    now = datetime.now(UTC)
    with resource.process_config_and_initialize_cm() as retention:
        removed = () if is_dry_run else retention.clean(now).decision.removed
        left = retention.look(now)
    return in_words(left if is_dry_run else Decision(removed, left.kept), is_dry_run)
