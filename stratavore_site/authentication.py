"""Who a request with a token comes from."""

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from knox.auth import TokenAuthentication

from stratavore_site.models import AccessToken


class AccessTokenAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """knox's, but for its look at all other tokens of the user with each request: making one clears expired ones."""

    def _cleanup_token(self, auth_token: AccessToken) -> bool:
        return auth_token.is_expired


class AccessTokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    """Tells the schema of it as of knox's."""

    target_class = "stratavore_site.authentication.AccessTokenAuthentication"
