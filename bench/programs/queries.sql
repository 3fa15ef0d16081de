create table t (id integer primary key, name text, value real, grp integer);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < SIZE)
insert into t select i, 'name' || (i * 7919 % SIZE), i * 0.25, i % 97 from n;
commit;
create index t_name on t (name);
select grp, count(*), round(sum(value), 2) from t group by grp order by grp;
select count(*) from t a join t b on a.name = 'name' || b.id where b.grp = 5;
update t set value = value + 1 where grp % 3 = 0;
delete from t where grp in (1, 2, 3);
select count(*), round(avg(value), 4) from t;
select name from t where name like '%99' order by name desc limit 20;
select count(distinct substr(name, 5, 3)) from t;
