"""Tokens of the API: make, list, revoke."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.generics import DestroyAPIView, ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView

from outbox.services import record_act
from runners.actors import actor_of
from runners.api.strict import StrictSerializer
from stratavore_site.models import AccessToken

DEFAULT_DAYS = 90
MAX_DAYS = 3650


class PasswordThrottle(AnonRateThrottle):
    """Slows guessing; counted by each web process on its own."""

    scope = "password"
    rate = "20/min"


class WrongPassword(APIException):
    """No active user has that name and password."""

    # Not DRF's AuthenticationFailed: where no scheme is asked for, that turns into 403.
    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = "No active user has that name and password."


class NewTokenSerializer(StrictSerializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(trim_whitespace=False, max_length=4096, style={"input_type": "password"})
    name = serializers.CharField(max_length=40, help_text="What it is for; shown in the history of what it did.")
    expires_in_days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, default=DEFAULT_DAYS)


class TokenSerializer(serializers.ModelSerializer[AccessToken]):
    id = serializers.CharField(source="token_key", help_text="The token's first characters.")

    class Meta:
        model = AccessToken
        fields = ["id", "name", "created", "expiry"]


class MadeTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="Shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class TokenView(APIView):
    """The token of this request."""

    def get_authenticators(self) -> list[Any]:
        # Making one is signing in: a stale token or cookie beside the password must not refuse it.
        making = self.request is not None and self.request.method == "POST"
        return [] if making else super().get_authenticators()

    def get_permissions(self) -> Any:
        return [AllowAny()] if self.request.method == "POST" else super().get_permissions()

    def get_throttles(self) -> list[Any]:
        return [PasswordThrottle()] if self.request.method == "POST" else []

    @extend_schema(
        tags=["auth"], summary="Make a token", request=NewTokenSerializer, responses={201: MadeTokenSerializer}, auth=[]
    )
    def post(self, request: Request) -> Response:
        """It may do what its user may. Send it as `Authorization: Token <token>`."""
        form = NewTokenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        user = authenticate(request, username=wanted["username"], password=wanted["password"])
        if user is None:
            raise WrongPassword
        record, token = _make(user, wanted["name"], timedelta(days=wanted["expires_in_days"]))
        record.token = token
        return Response(MadeTokenSerializer(record).data, status=status.HTTP_201_CREATED)

    @extend_schema(tags=["auth"], summary="Revoke the token of this request", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        if not isinstance(request.auth, AccessToken):
            raise ValidationError({"authorization": ["This request carries no token: revoke one by its id."]})
        revoke(request.auth, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(tags=["auth"], summary="List your tokens")
class TokenListView(ListAPIView[AccessToken]):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[AccessToken]:
        return _tokens_of(self.request)


@extend_schema(tags=["auth"], summary="Revoke one of your tokens")
class TokenDetailView(DestroyAPIView[AccessToken]):
    serializer_class = TokenSerializer
    lookup_field = "token_key"
    lookup_url_kwarg = "id"

    def get_queryset(self) -> QuerySet[AccessToken]:
        return _tokens_of(self.request)

    def perform_destroy(self, instance: AccessToken) -> None:
        revoke(instance, actor=actor_of(self.request))


@transaction.atomic
def revoke(token: AccessToken, *, actor: str) -> None:
    """Make a token worthless at once."""
    _record("revoke", token, actor)
    token.delete()


def _record(verb: str, token: AccessToken, actor: str) -> None:
    record_act(
        f"token.{verb}",
        actor=actor,
        target_type="token",
        target_id=token.token_key,
        target_name=str(token),
        after={"expires": token.expiry} if verb == "issue" else None,
    )


def _tokens_of(request: Request) -> QuerySet[AccessToken]:
    # The schema is drawn without a user.
    found: QuerySet[AccessToken] = AccessToken.objects.filter(user=request.user.pk).order_by("-created")
    return found


def _make(user: Any, name: str, lifetime: timedelta) -> tuple[Any, str]:
    try:
        with transaction.atomic():
            # One that expired holds no name.
            AccessToken.objects.filter(user=user, expiry__lt=timezone.now()).delete()
            made: tuple[Any, str] = AccessToken.objects.create(user=user, expiry=lifetime, name=name)
            _record("issue", made[0], f"user:{user.get_username()}")
    except IntegrityError:
        raise ValidationError(
            {"name": [f"You have a token named {name}: revoke it, or choose another name."]}
        ) from None
    return made
