// What every page does beyond plain HTML. Each part stands alone; without it the page still reads and its forms work.
import { startAges } from "./ages.js";
import { startCopying } from "./copy.js";
import { startDialogs } from "./dialogs.js";
import { startForms } from "./forms.js";
import { startLive } from "./live.js";
import { startMenus } from "./menus.js";
import { startTheme } from "./theme.js";
import { startToasts } from "./toasts.js";

document.documentElement.classList.add("js");
startTheme();
startMenus();
startCopying();
startDialogs();
startForms();
startToasts();
startAges();
startLive();
