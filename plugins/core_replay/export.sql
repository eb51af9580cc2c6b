-- Recorded calls of a run, for core_replay:   sqlite3 runs/.../run.db < export.sql > calls.jsonl
SELECT json_object(
  'request', json(request.text),
  'sample', json_extract(request.text, '$.sample'),
  'reply', json_object('text', reply.text, 'finish', finish, 'model', served_model, 'input', input,
                       'cache_read', cache_read, 'cache_write', cache_write, 'output', output, 'reasoning', reasoning,
                       'usage_known', usage_known))
FROM calls JOIN blobs AS request ON request.id = calls.request JOIN blobs AS reply ON reply.id = calls.reply
WHERE state = 'done' ORDER BY calls.id;
