"""Sign in."""

from django.contrib.auth.views import LoginView


class SignIn(LoginView):
    """The sign-in page; who is signed in already goes on to the overview."""

    redirect_authenticated_user = True
