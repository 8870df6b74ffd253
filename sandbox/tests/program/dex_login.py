"""A login at Dex as a browser and the login proxy do it together: the form, the code, the token."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import urllib3

CALLBACK = "/oauth2/callback"
_STEPS = 5  # redirects in a row; more of them are a loop


def login(base: str, client: tuple[str, str], email: str, password: str) -> dict[str, Any] | None:
    """The claims of the ID token that somebody gets with a password; None if Dex does not let them in.

    `base`: where Dex is reached, with its path, whatever its issuer is called. `client`: its id and secret.
    """
    wanted = {"client_id": client[0], "redirect_uri": CALLBACK, "response_type": "code", "state": "s"}
    asked = urlencode(wanted | {"scope": "openid profile email groups"})
    page, form = _follow(base, f"{base}/auth/local?{asked}")
    action = re.search(r'<form method="post" action="([^"]+)"', form)
    assert action, form
    answer = request("POST", urljoin(page, html.unescape(action[1])), {"login": email, "password": password})
    ended, page = _follow(base, answer.headers["Location"]) if answer.status == 303 else ("", _text(answer))
    if urlsplit(ended).path != CALLBACK:
        assert "Invalid Email Address and password" in page, page
        return None
    (code,) = parse_qs(urlsplit(ended).query)["code"]
    grant = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code": code}
    given = request("POST", f"{base}/token", grant, urllib3.make_headers(basic_auth=":".join(client)))
    assert given.status == 200, _text(given)
    payload = json.loads(given.data)["id_token"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def _follow(base: str, location: str) -> tuple[str, str]:
    """Where redirects of Dex to itself end: at our callback, or at a page, with its text."""
    for _ in range(_STEPS):
        parts = urlsplit(location)
        if parts.path == CALLBACK:
            return location, ""
        url = urljoin(base, f"{parts.path}?{parts.query}")
        answer = request("GET", url)
        if not 300 <= answer.status < 400:
            return url, _text(answer)
        location = answer.headers["Location"]
    raise AssertionError(f"{location} is one redirect too many")


def request(
    method: str, url: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> urllib3.BaseHTTPResponse:
    """One answer, a redirect as it is. Raises `urllib3.exceptions.HTTPError`."""
    body = {"body": urlencode(fields)} if fields else {}
    form = {"Content-Type": "application/x-www-form-urlencoded"} if fields else {}
    return urllib3.request(
        method, url, headers={**form, **(headers or {})}, redirect=False, retries=False, timeout=10, **body
    )


def _text(answer: urllib3.BaseHTTPResponse) -> str:
    return answer.data.decode(errors="replace")
