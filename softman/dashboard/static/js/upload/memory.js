// Uploads in parts that have begun, so that they can go on after a reload. What has arrived the object store knows.
const MOST = 200;

export class Memory {
  constructor(repository) {
    this.key = `softman:uploads:${repository}`;
  }

  all() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key) || "[]");
      return Array.isArray(found) ? found : [];
    } catch {
      return [];
    }
  }

  _store(entries) {
    try {
      if (entries.length) localStorage.setItem(this.key, JSON.stringify(entries.slice(-MOST)));
      else localStorage.removeItem(this.key);
    } catch { /* private mode, or full: then there is nothing to go on with */ }
  }

  add(item) {
    this._store([...this.all().filter((each) => each.upload !== item.upload), {
      path: item.path, name: item.file.name, size: item.size, modified: item.file.lastModified, upload: item.upload, at: Date.now(),
    }]);
  }

  forget(upload) {
    this._store(this.all().filter((each) => each.upload !== upload));
  }

  // The upload that this file belongs to, wherever it was meant to go.
  of(file, path) {
    const same = this.all().filter((each) => each.size === file.size && each.modified === file.lastModified && each.name === file.name);
    return same.find((each) => each.path === path) ?? null;
  }

  byFile(file) {
    return this.all().find((each) => each.size === file.size && each.modified === file.lastModified && each.name === file.name) ?? null;
  }
}
