"""Files of the Hugging Face hub, through its local cache: the only module that touches the hub."""

import contextlib
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.files import SUFFIXES


def is_hub_id(source: str | os.PathLike) -> bool:
    """`owner/name`; a name may contain dots, but not end like a weights file."""
    return (
        isinstance(source, str)
        and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) is not None
        and not source.endswith(SUFFIXES)
    )


def fetch(repository: str, name: str, revision: str | None) -> pathlib.Path | None:
    """The local path of a file on the hub, through its cache; None where there is no such file.

    Raises:
        SpecjaxError: The repository or the network is not available, nor is the file in the cache.
    """
    # Imported here since it is slow to import and a local checkpoint does without it.
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    with _quiet_hub():
        silence = _silence(repository, name, revision)
        try:
            path = hf_hub_download(
                repository, name, revision=revision, local_files_only=silence is not None
            )
            return pathlib.Path(path)
        except errors.LocalEntryNotFoundError as error:
            # The cache also remembers which files the repository does not have.
            known = try_to_load_from_cache(repository, name, revision=revision)
            if known is not None and not isinstance(known, str):
                return None
            cause = silence or error.__cause__ or error
            raise _unavailable(repository, name, cause) from error
        except errors.EntryNotFoundError:
            return None
        # The errors of the hub, of its transfer library and of the network have no common base.
        except Exception as error:
            raise _unavailable(repository, name, error) from error


def fetch_first(repository: str, names: Sequence[str], revision: str | None) -> pathlib.Path:
    """The local path of the first of these files that the repository has.

    Raises:
        SpecjaxError: It has none of them, or none is available.
    """
    failure = SpecjaxError(f"{repository} on the Hugging Face hub has none of {', '.join(names)}")
    for name in names:
        try:
            path = fetch(repository, name, revision)
        except SpecjaxError as error:  # offline, the next may still be in the cache
            failure = error
            continue
        if path is not None:
            return path
    raise failure


def _silence(repository: str, name: str, revision: str | None) -> Exception | None:
    """Why the hub does not answer; None where it does, even if it answers with an error.

    It is asked once: `hf_hub_download` repeats its request for half a minute where there is no
    network, for six minutes where a firewall swallows it, and has no option against that.
    """
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    except errors.HfHubHTTPError:
        pass
    except Exception as error:
        return error
    return None


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Without the hub's log of every attempt (twice where the root logger has a handler as well).

    What went wrong is in the error. Whoever asked the hub's library for more than warnings gets it.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    if level >= logging.WARNING:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unavailable(repository: str, name: str, error: BaseException) -> SpecjaxError:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return SpecjaxError(
            f"{repository} is gated on the Hugging Face hub: accept its terms there, then set"
            " HF_TOKEN to a token of your account that may read it"
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return SpecjaxError(
            f"the Hugging Face hub has no {repository} that it shows to you: check the name, and"
            " set HF_TOKEN if the model is private or gated"
        )
    cause = " ".join(str(error).split())
    cause = f"{type(error).__name__}: {cause[:150]}{'...' if len(cause) > 150 else ''}"
    return SpecjaxError(
        f"cannot get {name} of {repository} from the Hugging Face hub ({cause}): on a machine with "
        f"a network run `hf download {repository} --local-dir DIR`, then load that folder"
    )
