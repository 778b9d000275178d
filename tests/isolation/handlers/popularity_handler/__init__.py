"""A handler as it lay in MindsDB 24: nothing in this folder names our packages."""

from mindsdb.integrations.libs.const import HANDLER_TYPE
from mindsdb.utilities import log

from .__about__ import __description__ as description
from .__about__ import __version__ as version

logger = log.getLogger(__name__)

try:
    from .popularity_handler import PopularityHandler as Handler

    import_error = None
except Exception as e:
    Handler = None
    import_error = e

title = "Popularity"
name = "popularity"
type = HANDLER_TYPE.ML
permanent = False

__all__ = ["Handler", "description", "import_error", "name", "title", "type", "version"]
