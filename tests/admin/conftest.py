"""The browser of the dashboard's tests, for the admin's."""

from tests.dashboard.conftest import chromium as chromium
from tests.dashboard.conftest import open_page as open_page
from tests.dashboard.conftest import web as web
