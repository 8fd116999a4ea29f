// What people drop or choose, as [{path, file}]: paths have "/" and no slash in front; an empty folder ends in one.

async function inFolder(entry, path, found) {
  const reader = entry.createReader();
  let some = false;
  for (;;) { // a reader gives a hundred at a time
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) break;
    some = true;
    for (const each of batch) await oneEntry(each, `${path}${entry.name}/`, found);
  }
  if (!some) found.push({ path: `${path}${entry.name}/`, file: new File([], entry.name) });
}

async function oneEntry(entry, path, found) {
  if (entry.isDirectory) return inFolder(entry, path, found);
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  found.push({ path: path + file.name, file });
}

export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) { // the list of items is empty after the first await
    if (entry instanceof File) found.push({ path: entry.name, file: entry });
    else if (entry) await oneEntry(entry, "", found);
  }
  return found;
}

export function chosen(input) {
  return [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

// "software/v1" from whatever somebody types as a folder.
export function folder(text) {
  return text.split("/").map((name) => name.trim()).filter((name) => name && name !== ".").join("/");
}
