"""Users, groups and tokens in the look of the rest."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from outbox.admin_audit import AuditedAdmin
from runners.admin_base import ReadOnlyAdmin
from stratavore_site.models import AccessToken

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StratavoreUserAdmin(AuditedAdmin, UserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class StratavoreGroupAdmin(AuditedAdmin, GroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessToken)
class AccessTokenAdmin(AuditedAdmin, ReadOnlyAdmin):
    """Tokens are made by POST /api/v1/auth/token/; here they are seen and revoked."""

    noun = "token"
    list_display = ["name", "user", "token_key", "created", "expiry"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "token_key"]
    fields = ["name", "user", "token_key", "created", "expiry"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("stratavore_site.delete_accesstoken")
